"""Makes the loss of a PyTorch function that was traced."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING

from gradcheck_fast.frontends.torch_trace.detached import Detached
from gradcheck_fast.frontends.torch_trace.held import Held
from gradcheck_fast.frontends.torch_trace.tracing import Tracing

if TYPE_CHECKING:
    import torch
    from torch import nn

    from gradcheck_fast.frontends.numpy_trace.array import TracedArray
    from gradcheck_fast.frontends.numpy_trace.recording import Recording


@contextmanager
def tracing(
    recording: Recording, parameters: Mapping[str, torch.Tensor], arrays: Mapping[str, TracedArray],
    modules: Mapping[str, nn.Module], held: Held | None = None,
) -> Iterator[Tracing]:  # fmt: skip
    """Traces what runs inside the ``with`` block; see `Tracing`, which this gives.

    Parameters
    ----------
    recording, parameters, arrays, modules
        As for `Tracing`.
    held : Held, optional
        Takes what the code detaches, which is held fixed then. None: it is followed like all else.
    """
    before = recording.source
    tracer = Tracing(recording, parameters, arrays, modules, held)
    try:
        with tracer, Detached(tracer, held):
            yield tracer
    finally:
        recording.source = before
