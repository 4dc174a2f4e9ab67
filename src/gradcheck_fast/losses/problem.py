"""`Problem`, the protocol that every loss follows, so that it can be differenced."""

from __future__ import annotations

from collections.abc import Callable
from operator import attrgetter
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias, TypeGuard

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from gradcheck_fast.inputs.trees import Packed, Tree
    from gradcheck_fast.numerical.evaluate import Evaluation
    from gradcheck_fast.numerical.gradient import Numerical
    from gradcheck_fast.running.runner import Runner

#: Any function of the parameters; it may be called with a tree of private arrays, as often as is needed.
Loss: TypeAlias = Callable[[Any], Any]

#: The methods that need a program of steps, as a network has it.
OF_PROGRAMS = ("units", "incremental", "chain")


class Problem(Protocol):
    """A loss that can be differenced.

    The loss of a network is one, `FunctionLoss` makes one of any function, and users may write their own: what has all
    of these members is taken as it is.
    """

    @property
    def methods(self) -> tuple[str, ...]:
        """The methods that it knows, besides ``auto``."""

    def pack(self, params: Tree) -> Packed:
        """Makes a flat vector of a tree of parameters."""

    def cost(self, params: Packed, theta: NDArray[np.float64], n_threads: int | None = None) -> float:
        """Gives the cost at `theta`, a flat vector like that of `params`."""

    def costs_at(self, params: Packed, n_threads: int) -> Evaluation:
        """Gives the cost as a function of such vectors, with notes on what was noticed in the calls of it."""

    def fingerprint(self, params: Packed) -> str:
        """Gives a text that differs from loss to loss, by which a checkpoint knows the loss that it is of."""

    def faster(self, method: str, seconds: float, entries: NDArray[np.intp] | None = None) -> str:
        """Says what would take less time, where `method` takes this many seconds (for these entries)."""

    def central_differences(
        self, params: Packed, *, method: str, step: float | None, runner: Runner, kinks: bool = False,
        entries: NDArray[np.intp] | None = None,
    ) -> Numerical:  # fmt: skip
        """Finds (E(p + h) - E(p - h)) / 2h for every entry of `params`, or for those with the numbers `entries`.

        Parameters
        ----------
        params : Packed
        method : str
            ``auto``, or one of `methods`.
        step : float or None
            h. None: chosen by the method.
        runner : Runner
            Does the work.
        kinks : bool
            Whether kinks are looked for.
        entries : ndarray of int, optional
            The numbers of some entries, all different, in the order in which their differences are returned.

        Raises
        ------
        TypeError, ValueError
            If the method is none that the loss knows, or the step is lost in a parameter.
        """


class HasSamples(Protocol):
    """A problem that may know on how many samples of data its cost is computed."""

    @property
    def samples(self) -> int | None:
        """How many samples there are; None: it is not known."""


class KnowsChanges(Protocol):
    """A problem that can tell how much its cost changes, without subtracting two costs."""

    @property
    def has_exact_changes(self) -> bool:
        """Whether what `change` gives is exact: it is not where a step is subtracted that nothing is known of."""

    def change(
        self, theta: NDArray[np.float64], direction: NDArray[np.float64], step: float, n_threads: int = 1
    ) -> float:
        """Gives the exact change of the cost when the flat parameters `theta` move by step times direction."""


def is_problem(loss: object) -> TypeGuard[Problem]:
    """Whether a loss has all members of `Problem`: what ``isinstance`` says, in a twentieth of its 20 µs.

    Raises
    ------
    TypeError
        If it has `central_differences` and `pack`, but not all of the others: it would be taken for a plain function.
    """
    try:
        _members(loss)
    except AttributeError:
        if hasattr(loss, "central_differences") and hasattr(loss, "pack"):
            missing = ", ".join(name for name in _NAMES if not hasattr(loss, name))
            raise TypeError(f"loss: it has central_differences and pack, but lacks {missing}") from None
        return False
    return True


def knows_samples(problem: object) -> TypeGuard[HasSamples]:
    """Whether a problem has the member of `HasSamples`."""
    return hasattr(problem, "samples")


def knows_changes(problem: object) -> TypeGuard[KnowsChanges]:
    """Whether a problem has the members of `KnowsChanges`, and its changes are exact."""
    return bool(getattr(problem, "has_exact_changes", False))


def samples_of(problem: Problem) -> int | None:
    """On how many samples the cost of a problem is computed, as far as the problem knows it."""
    return problem.samples if knows_samples(problem) else None


_NAMES = tuple(name for name in vars(Problem) if not name.startswith("_"))
_members = attrgetter(*_NAMES)
