"""Operators with hand-written backward passes, wrong and right, on which gradient checkers are compared.

`benchmarks/checkers.py` asks all checkers about each of them, and makes the table in ``docs/checkers.md``.
"""

from .awkward import AWKWARD
from .case import Case
from .planted import PLANTED

CASES = PLANTED + AWKWARD

__all__ = ["AWKWARD", "CASES", "PLANTED", "Case"]
