"""Functions of JAX as users write them, small enough to be checked in every entry."""

from . import libraries, plain
from .registry import FUNCTIONS, case, missing

__all__ = ["FUNCTIONS", "case", "libraries", "missing", "plain"]
