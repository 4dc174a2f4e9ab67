"""Makes the loss of a PyTorch function that was traced."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING

from gradcheck_fast.frontends.torch_trace.tracing import Leaks, Tracing

if TYPE_CHECKING:
    import torch
    from torch import nn

    from gradcheck_fast.frontends.numpy_trace.array import TracedArray
    from gradcheck_fast.frontends.numpy_trace.recording import Recording


@contextmanager
def tracing(
    recording: Recording, parameters: Mapping[str, torch.Tensor], arrays: Mapping[str, TracedArray],
    modules: Mapping[str, nn.Module],
) -> Iterator[Tracing]:  # fmt: skip
    """Traces what runs inside the ``with`` block; see `Tracing`, which this gives."""
    before = recording.source
    tracer = Tracing(recording, parameters, arrays, modules)
    try:
        with tracer, Leaks(tracer):
            yield tracer
    finally:
        recording.source = before
