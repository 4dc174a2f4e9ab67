"""Losses as people write them in NumPy: what a tracer must understand, each with its gradient by other means.

The losses of `special` are left out where SciPy is not installed.
"""

from importlib.util import find_spec

from handwritten import (
    assorted,
    attention,
    classes,
    convolutions,
    costs,
    dense,
    habits,
    indexing,
    probabilistic,
    recurrent,
    scalars,
)
from handwritten.entry import Handwritten

_FILES = [dense, costs, classes, scalars, recurrent, convolutions, attention, indexing, probabilistic, assorted, habits]
if find_spec("scipy"):
    from handwritten import special

    _FILES.append(special)

ALL: list[Handwritten] = [entry for file in _FILES for entry in file.ENTRIES]

__all__ = ["ALL", "Handwritten"]
