"""The table of all operators: it is complete once this module is imported."""

from gradcheck_fast.frontends.onnx import (
    activations,
    arithmetic,
    control,
    costs,
    drawing,
    indices,
    learning,
    linear,
    normalisations,
    quantisation,
    recurrent,
    reductions,
    resizing,
    shapes,
)
from gradcheck_fast.frontends.onnx.registry import entries, registered

#: The modules that fill it.
MODULES = (
    activations, arithmetic, control, costs, drawing, indices, learning, linear, normalisations, quantisation,
    recurrent, reductions, resizing, shapes,
)  # fmt: skip

__all__ = ["MODULES", "entries", "registered"]
