"""The loss of a JAX function: its jaxpr, replayed step by step, and compared with what the function does."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple

import jax
from jax import numpy as jnp

from gradcheck_fast.frontends.graphs.graph_loss import GraphLoss, graph_loss
from gradcheck_fast.frontends.graphs.held import held_loss
from gradcheck_fast.frontends.jaxpr.interpreter import Interpreter, Stops
from gradcheck_fast.frontends.numpy_trace.recording import Untraceable
from gradcheck_fast.frontends.numpy_trace.traced_loss import Disagreement

if TYPE_CHECKING:
    from gradcheck_fast.frontends.numpy_trace.array import TracedArray
    from gradcheck_fast.frontends.numpy_trace.recording import Recording
    from gradcheck_fast.inputs.trees import Packed
    from gradcheck_fast.program.program import Source


class JaxprLoss(NamedTuple):
    """What a jaxpr became.

    Attributes
    ----------
    loss : GraphLoss
    stopped : tuple of Source
        The lines whose ``jax.lax.stop_gradient`` holds something fixed.
    """

    loss: GraphLoss
    stopped: tuple[Source, ...]


def jaxpr_of(
    function: Callable[[dict[str, Any]], Any], params: Packed, within: Callable[[], AbstractContextManager[None]]
) -> Any:
    """Returns the jaxpr of a function of a dict of arrays; it takes the arrays one by one.

    Parameters
    ----------
    function : callable
        Of a dict of JAX's arrays, which it may compute with while JAX traces it.
    params : Packed
        A dict of arrays.
    within : callable
        Returns the context in which JAX computes in float64.

    Raises
    ------
    Exception
        What the function raises while JAX traces it.
    """
    names = list(params.shapes)
    with within():
        arrays = [jnp.asarray(array, dtype=array.dtype) for _, array in params.arrays(params.flat)]
        return jax.make_jaxpr(lambda *own: function(dict(zip(names, own, strict=True))))(*arrays)


def jaxpr_loss(
    jaxpr: Any, cost: Callable[[dict[str, Any]], float], params: Packed,
    within: Callable[[], AbstractContextManager[None]],
) -> JaxprLoss:  # fmt: skip
    """Writes down what a JAX function computes.

    What ``jax.lax.stop_gradient`` returns is held fixed, as ``jax.grad`` does: that is another function than the
    user's, and the one that is to be differentiated.

    Parameters
    ----------
    jaxpr : ClosedJaxpr
        See `jaxpr_of`.
    cost : callable
        The value of the function, of a dict of NumPy's arrays, as the user has it.
    params : Packed
        A dict of arrays.
    within : callable
        Returns the context in which JAX computes in float64.

    Raises
    ------
    Untraceable, Disagreement
        If the jaxpr cannot be written down, or is another function; see `graph_loss`.
    """
    made: list[Interpreter] = []

    def replay(recording: Recording, traced: dict[str, TracedArray], stops: Stops = Stops.LARGEST) -> Any:
        made.append(Interpreter(recording, within, stops))
        with within():
            (found,) = made[-1].run(jaxpr, list(traced.values()))
        return found

    found = _confirmed(cost, replay, params, made)
    stopped = tuple(dict.fromkeys(made[-1].stopped))
    if stopped:
        found = held_loss(cost, partial(replay, stops=Stops.ALL), params)
    if isinstance(found, Exception):
        raise found
    found.is_explained = made[-1].has_index_outside
    return JaxprLoss(found, stopped)


def _confirmed(
    cost: Callable[[dict[str, Any]], float], replay: Callable[..., Any], params: Packed, made: list[Interpreter]
) -> GraphLoss | ValueError:
    """Returns the loss whose jaxpr does what the function does; or why there is none."""
    try:
        return graph_loss(cost, replay, params)
    except Untraceable as error:
        return error
    except Disagreement as error:
        if not made[-1].fixed:
            return error
    try:
        return graph_loss(cost, partial(replay, stops=Stops.NONE), params)
    except (Untraceable, Disagreement) as error:
        return error
