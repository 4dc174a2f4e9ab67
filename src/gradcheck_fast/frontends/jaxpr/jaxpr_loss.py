"""The loss of a JAX function: its jaxpr, replayed step by step, and compared with what the function does."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import replace
from functools import partial
from math import isclose
from typing import TYPE_CHECKING, Any, NamedTuple

import jax
import numpy as np
from jax import numpy as jnp

from gradcheck_fast.engine.rules import RulesEngine
from gradcheck_fast.frontends.graphs.graph_loss import GraphLoss, graph_loss
from gradcheck_fast.frontends.graphs.replay import Replay, replayed
from gradcheck_fast.frontends.jaxpr.interpreter import Interpreter, Stops
from gradcheck_fast.frontends.numpy_trace.recording import Untraceable
from gradcheck_fast.frontends.numpy_trace.trace import Traced, as_cost
from gradcheck_fast.frontends.numpy_trace.traced_loss import Disagreement

if TYPE_CHECKING:
    from gradcheck_fast.frontends.numpy_trace.array import TracedArray
    from gradcheck_fast.frontends.numpy_trace.recording import Recording
    from gradcheck_fast.inputs.trees import Packed
    from gradcheck_fast.program.program import Source


#: A loss that is held fixed in parts is compared with its jaxpr where the parameters are moved by these parts of them.
MOVES = (2.0**-16, 2.0**-10)
#: Both agree to this part of the loss.
SAME_VALUE = 1e-10


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


def jaxpr_loss(
    function: Callable[[dict[str, Any]], Any], cost: Callable[[dict[str, Any]], float], params: Packed,
    within: Callable[[], AbstractContextManager[None]],
) -> JaxprLoss:  # fmt: skip
    """Writes down what a JAX function computes.

    What ``jax.lax.stop_gradient`` returns is held fixed, as ``jax.grad`` does: that is another function than the
    user's, and the one that is to be differentiated.

    Parameters
    ----------
    function : callable
        Of a dict of JAX's arrays, which it may compute with while JAX traces it.
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
    Exception
        What the function raises while JAX traces it.
    """
    names = list(params.shapes)
    with within():
        arrays = [jnp.asarray(array, dtype=array.dtype) for _, array in params.arrays(params.flat)]
        jaxpr = jax.make_jaxpr(lambda *own: function(dict(zip(names, own, strict=True))))(*arrays)
    made: list[Interpreter] = []

    def replay(recording: Recording, traced: dict[str, TracedArray], stops: Stops = Stops.LARGEST) -> Any:
        made.append(Interpreter(recording, within, stops))
        with within():
            (found,) = made[-1].run(jaxpr, list(traced.values()))
        return found

    found = _confirmed(cost, replay, params, made)
    stopped = tuple(dict.fromkeys(made[-1].stopped))
    if stopped:
        return JaxprLoss(_held(cost, partial(replay, stops=Stops.ALL), params), stopped)
    if isinstance(found, Exception):
        raise found
    return JaxprLoss(found, ())


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


def _held(cost: Callable[[dict[str, Any]], float], replay: Replay, params: Packed) -> GraphLoss:
    """Returns the loss in which what is stopped is held fixed.

    Where the parameters are moved, other numbers are held: the jaxpr is replayed there, and compared with the function.
    """
    rng, theta = np.random.default_rng(0), params.flat
    held = None
    for size in (0.0, *MOVES):
        at = replace(params, join=partial(np.copy, theta * (1.0 + size * rng.normal(size=theta.size))))
        found = Traced.of(*replayed(replay, at, as_cost))
        held = held or found
        value = cost(at.unpack(at.flat))
        if not isclose(value, found.value, rel_tol=SAME_VALUE):
            raise Disagreement(f"the loss is {value:.10g}, and its jaxpr gives {found.value:.10g}")
    assert held is not None
    return GraphLoss(_Held(held, params), held, params)


class _Held:
    """A loss in which what ``stop_gradient`` returns stays as it is: its program is the only function that there is."""

    def __init__(self, held: Traced, params: Packed) -> None:
        self._engine, self._params = RulesEngine(held.program), params

    def __call__(self, arrays: dict[str, Any]) -> float:
        theta = np.concatenate([np.ravel(arrays[name]) for name in self._params.shapes])
        with self._engine.at(np.asarray(theta, np.float64), 1) as point:
            return float(point.cost())
