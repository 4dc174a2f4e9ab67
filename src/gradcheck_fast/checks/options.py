"""The options of a check: the keywords by which users give them, and `Options`, the value that they are read into."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, TypeAlias, TypedDict

from gradcheck_fast.comparison.sampling import read_sample
from gradcheck_fast.comparison.tolerances import Tolerances
from gradcheck_fast.inputs.arguments import choose, integer, number, true_or_false
from gradcheck_fast.inputs.selection import select
from gradcheck_fast.numerical.gradient import LARGEST_STEP, SMALLEST_STEP

if TYPE_CHECKING:
    from concurrent.futures import Executor
    from os import PathLike

    from numpy.typing import NDArray
    from typing_extensions import Unpack

    from gradcheck_fast.inputs.selection import Selection
    from gradcheck_fast.inputs.trees import Packed
    from gradcheck_fast.running.progress import Progress

#: The methods that find a gradient; each loss knows some of them.
METHODS = ("auto", "units", "incremental", "chain", "direct", "complex")
#: The method that compares a gradient with the loss without finding another gradient.
DIRECTIONAL = "directional"


#: Which entries are checked: the name of an array, several names, or a mask or index for each of some names.
Chosen: TypeAlias = "str | Sequence[str] | Mapping[str, Any] | NDArray[Any]"
#: The bounds of parameters: (low, high) by the names of arrays, or for all.
Bounds: TypeAlias = "Mapping[str, tuple[Any, Any]] | tuple[Any, Any]"


class CommonKeywords(TypedDict, total=False):
    """The keywords that every check takes. `Options` says what each of them means."""

    method: str
    step: float | Mapping[str, float] | None
    rtol: float | None
    atol: float | None
    error_bars: bool
    sample: int | float | None
    trace: bool
    progress: Progress


class WorkKeywords(CommonKeywords, total=False):
    """The keywords of a check that evaluates a loss so often that threads or processes may share the work."""

    n_threads: int | None
    executor: Executor | Callable[[], Executor] | None
    only: Chosen | None
    fixed: Chosen | None
    bounds: Bounds | None
    constraints: Mapping[str, str] | None


class AllKeywords(WorkKeywords, total=False):
    """The keywords of a check of one loss. A check of several losses has no checkpoint, and a seed of its own."""

    checkpoint: str | PathLike[str] | None
    seed: int


@dataclass(frozen=True, kw_only=True)
class Options:
    """How a gradient is found and compared. A public function makes it from its keywords, and hands it on whole.

    Checks make it by `for_check` or `from_keywords`, which look at the method as well.

    Parameters
    ----------
    method : str
        One of `METHODS`, or `DIRECTIONAL`.
    step : float, or dict of str to float; optional
        h, from SMALLEST_STEP to LARGEST_STEP; or that of each of some arrays, by their names. None: the method chooses
        it.
    rtol, atol : float, optional
        The user's tolerances; `tolerances` has both.
    n_threads : int, optional
        How many threads to use; `running.runner.Runner` reads it.
    progress : bool, callable or None
        Who is told how much of the work is done; `running.progress.Meter` reads it.
    error_bars : bool
        Whether error bars are wanted even where the comparison does not need them.
    executor : Executor, callable or None
        Who does the work instead of this process; `running.runner.Runner` reads it.
    checkpoint : str or PathLike, optional
        The file in which results are kept; `running.checkpoint.Checkpoint` reads it.
    sample : int or float, optional
        How many entries of each array are compared, or which share of them. None: all.
    seed : int
        The seed of the random directions, or of the sample.
    trace : bool
        Whether Python functions are traced.
    only, fixed, bounds, constraints : optional
        Which entries are checked, and where they may be moved; `inputs.selection.select` reads them.

    Raises
    ------
    TypeError, ValueError
        If rtol, atol, seed, step or sample does not fit; the message names it.
    """

    method: str = "auto"
    step: float | Mapping[str, float] | None = None
    rtol: float | None = None
    atol: float | None = None
    n_threads: int | None = None
    progress: Progress = None
    error_bars: bool = False
    executor: Executor | Callable[[], Executor] | None = None
    checkpoint: str | PathLike[str] | None = None
    sample: int | float | None = None
    seed: int = 0
    trace: bool = True
    only: Chosen | None = None
    fixed: Chosen | None = None
    bounds: Bounds | None = None
    constraints: Mapping[str, str] | None = None

    def __post_init__(self) -> None:
        put = partial(object.__setattr__, self)  # the class is frozen
        if self.rtol is not None:
            put("rtol", number("rtol", self.rtol))
        if self.atol is not None:
            put("atol", number("atol", self.atol))
        if type(self.seed) is not int or self.seed < 0:
            put("seed", integer("seed", self.seed))
        if isinstance(self.step, Mapping):
            put("step", {name: _read_step(h, f"step: {name}") for name, h in self.step.items()})
        elif self.step is not None:
            put("step", _read_step(self.step))
        if self.sample is not None:
            put("sample", read_sample(self.sample))
        if self.trace is not True:
            put("trace", true_or_false("trace", self.trace))

    @classmethod
    def for_check(cls, **keywords: Unpack[AllKeywords]) -> Options:
        """The options of a check, which may use any method.

        Raises
        ------
        TypeError, ValueError
            If an option does not fit, or two options exclude each other; the message names them.
        """
        options = cls(**keywords)
        choose("method", options.method, (*METHODS, DIRECTIONAL))
        if options.is_directional:
            if options.sample is not None:
                raise ValueError("sample: method 'directional' compares every entry; leave one of the two out")
            if options.error_bars:
                raise ValueError("error_bars: random directions find none for single entries; leave it out")
        return options

    @classmethod
    def from_keywords(cls, function: str, keywords: Mapping[str, Any], known: type, **more: Any) -> Options:
        """The options of a check that takes them as ``**options``, where Python lets any keyword pass.

        Parameters
        ----------
        function : str
            The name of the function, for errors.
        keywords : mapping
            The options that the user has given.
        known : type
            The typed dict of the keywords that the function takes.
        **more
            Options that are parameters of the function themselves.

        Raises
        ------
        TypeError, ValueError
            If the function has no such option, or as for `for_check`.
        """
        for name in keywords:
            if name not in known.__annotations__:
                names = ", ".join(known.__annotations__)
                raise TypeError(f"{function}: it has no option {name!r}; its options are {names}")
        return cls.for_check(**keywords, **more)

    def require_gradient(self) -> None:
        """A ValueError if the method finds no gradient. The loss itself refuses a method that it does not know."""
        if self.is_directional:
            raise ValueError("method: 'directional' checks a gradient without finding one; it is for gf.gradcheck only")

    @property
    def is_directional(self) -> bool:
        """Whether the gradient is compared along random directions."""
        return self.method == DIRECTIONAL

    @property
    def one_step(self) -> float | None:
        """The step of all entries; None if it is chosen for each, or given by names."""
        return None if isinstance(self.step, Mapping) else self.step

    def selected(self, params: Packed) -> Selection:
        """Returns which entries are checked, and the parameters with where they may be moved.

        Raises
        ------
        TypeError, ValueError
            As `inputs.selection.select` does.
        """
        return select(
            params, only=self.only, fixed=self.fixed, bounds=self.bounds, constraints=self.constraints,
            steps=self.step if isinstance(self.step, Mapping) else None,
        )  # fmt: skip

    @property
    def tolerances(self) -> Tolerances:
        """The tolerances that the user has given."""
        return Tolerances(self.rtol, self.atol)


def _read_step(step: object, what: str = "step") -> float:
    """`step` as a float; a ValueError if it is so small or large that h² or 2h would under- or overflow."""
    h = number(what, step, positive=True)
    if not SMALLEST_STEP <= h <= LARGEST_STEP:
        raise ValueError(f"{what}: expected a number from {SMALLEST_STEP} to {LARGEST_STEP}, got {h}")
    return h
