"""What the executors of tensors have in common: a program, at some parameters, with its values in one or more parts."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence, Sized
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from gradcheck_fast.program.program import Program, Step

    Reals = NDArray[np.float64]


class Part(Protocol):
    """Some samples, or the whole program, of which the values of all steps are known."""

    @property
    def values(self) -> Sequence[Reals]:
        """The value of every step, as the plain rules take it; no cost depends on those that are not run."""

    def attributes(self, step: Step) -> Mapping[str, Any]:
        """Gives the attributes of a step with which its rules fit these values."""

    def changes(self, direction: Reals, h: float) -> Mapping[int, Reals]:
        """Gives by how much each step that is run changes if the parameters move by h times a direction."""

    def backs(self) -> Mapping[int, Reals]:
        """Gives the derivatives of the cost by the entries of every step between the parameters and the costs."""


class AtPoint(Protocol):
    """A program at some parameters; used as a context."""

    @property
    def engine(self) -> Executor:
        """What runs the program."""

    @property
    def theta(self) -> Reals:
        """The parameters."""

    @property
    def n_threads(self) -> int:
        """How many threads are used."""

    def __enter__(self) -> AtPoint: ...

    def __exit__(self, *error: Any) -> bool | None: ...

    def cost(self) -> float:
        """Gives the cost."""

    def gradient(self, h: float) -> Reals:
        """Gives the derivatives of the cost by all parameters, chained with slopes of the step h."""

    def chain(self, h: float, share: int, gradient: Reals) -> int:
        """Adds the derivatives of one share of the cost to `gradient`, and returns how many values lie on kinks."""

    def along(self, direction: Reals, scales: Sequence[float]) -> Reals:
        """Gives the exact change of the cost if the parameters move by a direction times one or two scales."""

    def vector(self) -> Reals:
        """Gives memory of the size of the parameters."""

    def parts(self) -> Iterator[Part]:
        """Yields the values part after part."""


class Executor(Protocol):
    """What runs a program of tensors: for values, for changes along a direction, and back."""

    @property
    def program(self) -> Program:
        """The program."""

    @property
    def isa(self) -> str:
        """The instruction set of the kernels."""

    @property
    def sizes(self) -> list[int]:
        """The number of entries of each array of the parameters."""

    @property
    def computed(self) -> list[int]:
        """The numbers of the steps that are run: those that a cost depends on, besides leaves."""

    @property
    def shares(self) -> Sized:
        """The shares in which the cost is added up."""

    @property
    def smallest_step(self) -> float:
        """The step of the small differences of the whole cost."""

    def at(self, theta: Reals, n_threads: int) -> AtPoint:
        """Gives the program at the flat parameters `theta`."""
