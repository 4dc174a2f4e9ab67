"""Collects the rules of all of ATen's operators. Each family has a file, in which each rule is registered by name."""

from __future__ import annotations

from gradcheck_fast.frontends.torch_trace.operators import (
    backward,
    elementwise,
    losses,
    movement,
    networks,
    products,
    reductions,
    sampling,
)
from gradcheck_fast.frontends.torch_trace.operators.registry import RULES

FAMILIES = (elementwise, reductions, movement, products, networks, sampling, losses, backward)

__all__ = ("FAMILIES", "RULES")
