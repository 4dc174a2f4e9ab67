"""All functions of NumPy that a trace knows, of all families."""

from __future__ import annotations

from gradcheck_fast.frontends.numpy_trace import (
    choices,
    creation,
    linear_algebra,
    looking,
    movement,
    numerics,
    ordering,
    products,
    reductions,
    special,
    ufuncs,
    writing,
)
from gradcheck_fast.frontends.numpy_trace.opaque import call_opaque
from gradcheck_fast.frontends.numpy_trace.registry import FUNCTIONS, SCIPY, Known

#: The families, each of which registers its functions when it is imported.
FAMILIES = (
    choices, creation, linear_algebra, looking, movement, numerics, ordering, products, reductions, special, writing,
)  # fmt: skip
#: What a recording knows of NumPy.
KNOWN = Known(ufuncs.apply, FUNCTIONS, call_opaque, movement.stack_nested)

__all__ = ["FAMILIES", "FUNCTIONS", "KNOWN", "SCIPY"]
