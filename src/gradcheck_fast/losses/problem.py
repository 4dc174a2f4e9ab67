"""What can be differenced: the protocol that every loss follows, whatever stands behind it."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from gradcheck_fast.inputs.trees import Packed, Tree
    from gradcheck_fast.numerical.evaluate import Evaluation
    from gradcheck_fast.numerical.gradient import Numerical
    from gradcheck_fast.running.runner import Runner

#: Any function of the parameters; it may be called with a tree of private arrays, as often as is needed.
Loss: TypeAlias = Callable[[Any], Any]


class Problem(Protocol):
    """What is needed of a loss: a network's compiled loss has it, and `FunctionLoss` gives it to any function."""

    @property
    def methods(self) -> tuple[str, ...]:
        """The methods that it knows, besides ``auto``."""

    def pack(self, params: Tree) -> Packed:
        """A tree of parameters as a flat vector."""

    def cost(self, params: Packed, theta: NDArray[np.float64], n_threads: int | None = None) -> float:
        """The cost at `theta`, a flat vector like that of `params`."""

    def costs_at(self, params: Packed, n_threads: int) -> Evaluation:
        """How it is evaluated at such vectors, and what was noticed then."""

    def fingerprint(self, params: Packed) -> str:
        """What tells this loss from others: a checkpoint is for one of them."""

    def faster(self, method: str, seconds: float, entries: NDArray[np.intp] | None = None) -> str:
        """What would take less than `method`, which takes so many seconds (for these entries)."""

    def central_differences(
        self, params: Packed, *, method: str, step: float | None, runner: Runner, kinks: bool = False,
        entries: NDArray[np.intp] | None = None,
    ) -> Numerical:  # fmt: skip
        """(E(p + h) - E(p - h)) / 2h for every entry of `params`, or for those with these numbers, which all differ."""
