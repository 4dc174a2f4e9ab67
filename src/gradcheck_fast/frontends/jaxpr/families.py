"""All rules: importing this registers them."""

from gradcheck_fast.frontends.jaxpr import (
    control,
    elementwise,
    indexing,
    linear_algebra,
    movement,
    ordering,
    products,
    reductions,
)
from gradcheck_fast.frontends.jaxpr.registry import RULES

FAMILIES = (elementwise, movement, indexing, reductions, ordering, products, linear_algebra, control)

__all__ = ["FAMILIES", "RULES"]
