"""The loss of a graph of another library that was replayed, and compared with what that library computes."""

from __future__ import annotations

from collections.abc import Callable
from math import isclose
from typing import TYPE_CHECKING, Any

import numpy as np

from gradcheck_fast.frontends.graphs.replay import Replay, replayed
from gradcheck_fast.frontends.numpy_trace.trace import Traced, as_cost
from gradcheck_fast.frontends.numpy_trace.traced_loss import Disagreement, TracedLoss
from gradcheck_fast.frontends.numpy_trace.verification import Verification
from gradcheck_fast.inputs.arrays import same_bits
from gradcheck_fast.losses.function_loss import LAST_BITS
from gradcheck_fast.numerical.evaluate import real_number

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from gradcheck_fast.frontends.numpy_trace.recording import Leak
    from gradcheck_fast.inputs.state import State
    from gradcheck_fast.inputs.trees import Packed
    from gradcheck_fast.numerical.evaluate import Costs


class GraphLoss(TracedLoss):
    """A loss of another library's, with the program that its graph has become; see `TracedLoss`.

    Its function begins each call in the same state, so that nothing has to be put back afterwards.

    Attributes
    ----------
    known_cost : float or None
        The cost that the function gave where the graph was replayed, as soon as it was called there.
    is_explained : bool
        Whether a note says why the other library's gradient is not that of the cost, so that no other cause is sought.
    """

    known_cost: float | None = None
    is_explained = False

    @property
    def value(self) -> float:
        """The cost of the graph when it was replayed."""
        return self._found.value

    @property
    def replayed_at(self) -> NDArray[np.float64]:
        """The parameters at which the graph was replayed."""
        return self._params.flat

    @property
    def leaks(self) -> list[Leak]:
        """Where plain numbers were made of values that depend on the parameters."""
        return self._found.leaks

    def verification(self, theta: NDArray[np.float64], state: State | None = None) -> Verification:
        """Returns what compares the program with the function at some parameters."""

        def cost(at: NDArray[np.float64]) -> float:
            with np.errstate(all="ignore"):
                return float(real_number(self.function(self._params.unpack(at.copy()))))

        base = self.known_cost if same_bits(theta, self._params.flat) else None
        return Verification(cost, self.engine, theta, self._found.rounding, bool(self._found.leaks), base)

    def _base(self, costs: Costs, theta: NDArray[np.float64]) -> float:
        if self.known_cost is not None and same_bits(theta, self._params.flat):
            return self.known_cost
        return super()._base(costs, theta)


def graph_loss(
    function: Callable[[Any], Any], replay: Replay, params: Packed, known_cost: float | None = None
) -> GraphLoss:
    """Replays a graph at some parameters, and compares it with the function that it stands for, there and beside.

    Parameters
    ----------
    function : callable
        The loss as the other library computes it in float64, of one dict of arrays. Each call begins in the same state.
    replay : callable
        See `replayed`. It returns the cost.
    params : Packed
        A dict of arrays.
    known_cost : float, optional
        The cost that the function gives there, if it has been called.

    Raises
    ------
    Untraceable
        If something cannot be written down; the message names the line or the operator.
    Disagreement
        If the function does something else than its graph.
    Exception
        What `replay` raises.
    """
    loss = GraphLoss(function, Traced.of(*replayed(replay, params, as_cost)), params)
    loss.known_cost = known_cost
    return confirmed(loss)


def confirmed(loss: GraphLoss) -> GraphLoss:
    """Returns a loss if its graph does what its function does, where it was replayed and beside.

    Raises
    ------
    Disagreement
        If it does something else.
    """
    verification = loss.looking_at()
    said = loss.disagreement(verification)
    if verification.has_jittered:  # are these roundings, or does it change from call to call?
        first, second = verification.base, verification.cost(loss.replayed_at)
        if not isclose(first, second, rel_tol=LAST_BITS) and first == first:
            said = f"two calls at the same parameters gave {first!r} and {second!r}"
    if said:
        noticed = "; ".join((*loss.notes, *dict.fromkeys(str(leak.error) for leak in loss.leaks)))
        raise Disagreement(f"{noticed or 'the graph is not confirmed'}; {said}")
    loss.known_cost = verification.base
    return loss
