"""The loss in which values that another library stops the gradient at are held fixed: that is what it differentiates.

``jax.lax.stop_gradient`` and PyTorch's ``detach()`` give values that change with the parameters but have no derivative.
So the user's function is another one than that whose gradient is meant, and only the graph knows the latter.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from math import isclose
from typing import TYPE_CHECKING, Any

import numpy as np

from gradcheck_fast.engine.rules import RulesEngine
from gradcheck_fast.frontends.graphs.graph_loss import GraphLoss
from gradcheck_fast.frontends.graphs.replay import Replay, replayed
from gradcheck_fast.frontends.numpy_trace.trace import Traced, as_cost
from gradcheck_fast.frontends.numpy_trace.traced_loss import Disagreement
from gradcheck_fast.inputs.random_numbers import generator
from gradcheck_fast.numerical.in_domain import inside

if TYPE_CHECKING:
    from gradcheck_fast.inputs.trees import Packed

#: A loss that is held fixed in parts is compared with its graph where the parameters are moved by these parts of them.
MOVES = (2.0**-16, 2.0**-10)
#: Both agree to this part of the loss.
SAME_VALUE = 1e-10


def held_loss(cost: Callable[[dict[str, Any]], float], replay: Replay, params: Packed) -> GraphLoss:
    """Returns the loss in which what is stopped is held fixed.

    Where the parameters are moved, other numbers are held: the graph is replayed there, and compared with the function.

    Parameters
    ----------
    cost : callable
        The value of the function, of a dict of arrays, as the user has it.
    replay : callable
        See `replayed`: it takes what is stopped as a constant.
    params : Packed
        A dict of arrays.

    Raises
    ------
    Untraceable
        If something cannot be written down.
    Disagreement
        If the values are not those of the function.
    """
    rng, theta = generator(0), params.flat
    held = None
    for size in (0.0, *MOVES):
        moved = inside(params.domain, theta * (1.0 + size * rng.normal(size=theta.size)), theta)
        at = replace(params, join=partial(np.copy, moved))
        found = Traced.of(*replayed(replay, at, as_cost))
        held = held or found
        value = cost(at.unpack(at.flat))
        if not isclose(value, found.value, rel_tol=SAME_VALUE):
            raise Disagreement(f"the loss is {value:.10g}, and its graph gives {found.value:.10g}")
    assert held is not None
    return GraphLoss(_Held(held, params), held, params)


class _Held:
    """A loss in which what is stopped stays as it is: its program is the only function that there is."""

    def __init__(self, held: Traced, params: Packed) -> None:
        self._engine, self._params = RulesEngine(held.program), params

    def __call__(self, arrays: dict[str, Any]) -> float:
        theta = np.concatenate([np.ravel(arrays[name]) for name in self._params.shapes])
        with self._engine.at(np.asarray(theta, np.float64), 1) as point:
            return float(point.cost())
