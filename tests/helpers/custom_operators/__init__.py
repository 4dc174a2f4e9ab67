"""Operators with hand-written backward passes, as authors of kernels write and check them."""

from . import kernels
from .registry import OPERATORS, Operator, operator

__all__ = ["OPERATORS", "Operator", "kernels", "load", "operator"]


def load(needs):
    """Imports the operators that need a library."""
    if needs == "torch":
        from . import torch_fused, torch_shapes  # noqa: F401
    elif needs == "jax":
        from . import jax_rules  # noqa: F401
