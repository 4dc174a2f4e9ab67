"""Calls of ONNX's operators at random attributes and inputs."""

from . import axes, entries, indices, linear, networks, shapes
from .probes import probes
from .registry import CALLS, Call, all_calls, make, opsets_of

#: What registers the calls when it is imported.
FAMILIES = (entries, linear, axes, shapes, indices, networks)

__all__ = ["CALLS", "FAMILIES", "Call", "all_calls", "make", "opsets_of", "probes"]
