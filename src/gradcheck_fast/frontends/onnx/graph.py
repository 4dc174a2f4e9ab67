"""The loss of a model as a problem: its graph is replayed on traced arrays, and compared with another library."""

from __future__ import annotations

from contextlib import closing
from functools import partial
from typing import TYPE_CHECKING, Any

from gradcheck_fast.frontends.graphs.graph_loss import GraphLoss, graph_loss
from gradcheck_fast.frontends.graphs.sources import at
from gradcheck_fast.frontends.numpy_trace.calls import Calls
from gradcheck_fast.frontends.onnx.evaluation import evaluate
from gradcheck_fast.frontends.onnx.loss import as_number
from gradcheck_fast.program.program import Source

if TYPE_CHECKING:
    from gradcheck_fast.frontends.numpy_trace.array import TracedArray
    from gradcheck_fast.frontends.numpy_trace.recording import Recording
    from gradcheck_fast.frontends.onnx.evaluators import Compute, Model
    from gradcheck_fast.inputs.trees import Packed


def traced_model(model: Model, compute: Compute, params: Packed) -> GraphLoss:
    """Returns the loss of a model with its program.

    Parameters
    ----------
    model : Model
    compute : callable
        What the program is compared with.
    params : Packed
        The model's parameters.

    Raises
    ------
    Untraceable, Disagreement
        If the model does not become a program, or one that computes something else.
    ModelError
        If a node cannot be evaluated.
    """
    return graph_loss(partial(model.value, compute), partial(_replayed, model), params)


def _replayed(model: Model, recording: Recording, arrays: dict[str, TracedArray]) -> Any:
    found = evaluate(model.proto, {**model.inputs, **arrays}, model.loss.wanted, recording, meant=model.meant)
    if model.loss.name:
        with at(recording, Source(model.loss.name)):
            return as_number(model.loss.of(found))
    with closing(Calls(recording, model.loss.function)) as calls:
        return as_number(model.loss.of(found, calls.convert(model.loss.function)))
