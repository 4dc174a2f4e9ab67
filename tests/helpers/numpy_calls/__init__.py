"""Calls of NumPy's and SciPy's functions as people write them, and what compares them with what a trace records.

The arguments of the calls are named after arrays in `observed.INPUTS`.
"""

from numpy_calls import choosing, moving, multiplying, reducing

#: By function: all of NumPy's that are no ufuncs and no methods.
FUNCTIONS = reducing.REDUCTIONS | choosing.CHOICES | choosing.LOOKS | moving.MOVES | multiplying.PRODUCTS

__all__ = ["FUNCTIONS"]
