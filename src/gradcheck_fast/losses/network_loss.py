"""The loss of a network on given data: its cost and its central differences."""

from __future__ import annotations

from functools import cached_property, partial
from typing import TYPE_CHECKING, NamedTuple, Protocol

import numpy as np

from gradcheck_fast.engine.engine import Engine
from gradcheck_fast.inputs import _norms
from gradcheck_fast.inputs.arguments import choose, duration
from gradcheck_fast.inputs.arrays import digest
from gradcheck_fast.inputs.trees import Packed, Tree, entry_name, pack_as
from gradcheck_fast.numerical.evaluate import OwnCost
from gradcheck_fast.numerical.gradient import EXACT_STEPS, Kinks, Numerical, jitter, plain_steps
from gradcheck_fast.running.threads import resolve

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from gradcheck_fast.running.runner import Runner


class Data(NamedTuple):
    """The data of a network.

    Attributes
    ----------
    inputs : ndarray
        The inputs as the program reads them: a row for each sample.
    valid : ndarray of bool, shape (samples, times)
        Which times of which samples count.
    masked : bool
        Whether columns with masks follow those of the inputs.
    """

    inputs: NDArray[np.float64]
    valid: NDArray[np.bool_]
    masked: bool

    def followed_by(self, more: list[NDArray[np.float64]]) -> Data:
        """Adds more columns, after the inputs and the masks."""
        return self._replace(inputs=np.concatenate([self.inputs, *more], axis=1)) if more else self

    @property
    def samples(self) -> int:
        return len(self.inputs)

    @property
    def times(self) -> int:
        return int(self.valid.shape[1])


class Given(NamedTuple):
    """What a loss was made of.

    Attributes
    ----------
    data : Data
    targets : ndarray
    counted : int
        How many samples count; in a recurrent network, how many times of all samples together.
    """

    data: Data
    targets: NDArray[np.float64]
    counted: int


class Penalty(Protocol):
    """A sum of squares; `decay` is its strength on an array of some shape."""

    def decay(self, shape: tuple[int, ...]) -> float: ...


class Described(Protocol):
    """What a loss needs to know of its network."""

    @property
    def shapes(self) -> dict[str, tuple[int, ...]]:
        """The shapes of its arrays, by name."""

    @property
    def penalty(self) -> Penalty | None:
        """The penalty on its weights; None if it has none."""


def decay_of(network: Described) -> NDArray[np.float64]:
    """The strength of the penalty on each entry of the flat vector."""
    penalty, shapes = network.penalty, network.shapes.values()
    strengths = [penalty.decay(shape) if penalty else 0.0 for shape in shapes]
    return np.repeat(strengths, [int(np.prod(shape, dtype=np.intp)) for shape in shapes])


class NetworkLoss:
    """A network's cost on given data: call it with parameters, or give it to `gradcheck`.

    `Network.loss` makes it. It keeps its own copy of the data.
    """

    methods = ("units", "incremental", "direct")

    def __init__(self, network: Described, engine: Engine, given: Given) -> None:
        self.network = network
        self._engine = engine
        self.given = given

    @property
    def samples(self) -> int:
        """How many samples the data have."""
        return self._engine.samples

    @property
    def times(self) -> int:
        """How many times each sample has. Without a recurrent layer it has one."""
        return self.given.data.times

    def __call__(self, params: Tree) -> float:
        """Gives the cost at these parameters (any tree or flat vector that the network takes), with the penalty."""
        packed = self.pack(params)
        return self.cost(packed, packed.flat)

    def cost(self, params: Packed, theta: NDArray[np.float64], n_threads: int | None = None) -> float:
        """Gives the cost at a flat vector `theta`."""
        penalty = float(0.5 * self._decay @ (theta * theta)) if self.network.penalty else 0.0
        return self._engine.cost(theta, resolve(n_threads)) + penalty

    def costs_at(self, params: Packed, n_threads: int) -> OwnCost:
        """Gives the cost as a function of flat vectors that uses `n_threads` threads."""
        return OwnCost(partial(self.cost, params, n_threads=n_threads))

    def pack(self, params: Tree) -> Packed:
        """Makes a flat vector of parameters of this network; `trees.pack_as` says in which forms they may be."""
        return pack_as(params, self.network.shapes)

    def fingerprint(self, params: Packed) -> str:
        """Gives a text that depends on the network and its data."""
        engine = self._engine
        return digest(self.network, engine.inputs, engine.targets)

    def faster(self, method: str, seconds: float, entries: NDArray[np.intp] | None = None) -> str:
        """Says what would take less than these seconds."""
        cheaper = self._cheaper(entries)
        method = cheaper if method == "auto" else method
        if method == cheaper:
            return "with fewer samples it takes less, and executor= spreads it over more processes"
        part = self._engine.work(cheaper, entries) / self._engine.work(method, entries)
        return f"method={cheaper!r} would take about {duration(part * seconds)}"

    def central_differences(
        self, params: Packed, *, method: str, step: float | None, runner: Runner, kinks: bool = False,
        entries: NDArray[np.intp] | None = None,
    ) -> Numerical:  # fmt: skip
        """Finds the central differences (E(p + h) - E(p - h)) / 2h; see `Problem`."""
        method = choose("method", method, ("auto", *self.methods))
        if method == "auto":
            method = self._cheaper(entries)
        if entries is not None and (method == "units" or len(entries) == len(params.flat)):
            return self.central_differences(params, method=method, step=step, runner=runner, kinks=kinks).of(entries)
        theta, some = params.flat, slice(None) if entries is None else entries
        roundings = lambda: self._engine.roundings(theta, runner.quietly("roundings"))[some]
        if method == "direct":
            gradient = self._direct(theta, step, 1.0, runner, entries)
            again = lambda times: self._direct(jitter(theta), step, times, runner.quietly(), entries)
            width = plain_steps(theta, step, self._name)[2]
            noise = lambda: abs(self._engine.cost(theta, runner.n_threads)) / width[some]
            quietly, h = runner.quietly("kinks"), float(width.max(initial=0.0)) / 2.0
            found = self._kinks(theta, h, quietly, gradient, entries) if kinks else None
            return Numerical(gradient, method, False, step, again, noise, roundings, found)
        for h in EXACT_STEPS if step is None else (step,):
            gradient, found = self._exact(method, theta, h, runner, kinks, entries)
            if _norms.largest(gradient)[1]:  # all are finite
                break
        again = lambda times: self._exact(method, jitter(theta), times * h, runner.quietly(), False, entries)[0]
        return Numerical(gradient, method, True, h, again, lambda: 0.0, roundings, found)

    def _name(self, entry: int) -> str:
        return entry_name(self.network.shapes, entry)

    def _cheaper(self, entries: NDArray[np.intp] | None) -> str:
        return min(("units", "incremental"), key=lambda method: self._engine.work(method, entries))

    def _exact(
        self, method: str, theta: NDArray[np.float64], h: float, runner: Runner, kinks: bool,
        entries: NDArray[np.intp] | None,
    ) -> tuple[NDArray[np.float64], Kinks | None]:  # fmt: skip
        if method == "units":
            gradient, found = self._engine.units(theta, h, runner, kinks=kinks)
        else:
            gradient, found = self._engine.incremental(theta, h, runner, kinks=kinks, entries=entries)
        if self.network.penalty:  # its difference is known: ½λ(w + h)² - ½λ(w - h)² = λw (2h)
            with np.errstate(over="ignore", invalid="ignore"):
                gradient += self._decay * theta
        if entries is None:
            return gradient, found
        return gradient[entries], found.of(entries) if found else None

    def _direct(
        self, theta: NDArray[np.float64], step: float | None, times: float, runner: Runner,
        entries: NDArray[np.intp] | None,
    ) -> NDArray[np.float64]:  # fmt: skip
        some = slice(None) if entries is None else entries
        name = self._name if entries is None else lambda k: self._name(int(entries[k]))
        plus, minus, width = plain_steps(theta[some], step, name, times)
        changes = self._engine.direct(theta, plus, minus, runner, entries)
        with np.errstate(over="ignore", invalid="ignore"):
            if self.network.penalty:
                decay = self._decay[some]
                changes += 0.5 * decay * plus**2 - 0.5 * decay * minus**2
        return np.divide(changes, width, out=changes)

    def _kinks(
        self, theta: NDArray[np.float64], h: float, runner: Runner, gradient: NDArray[np.float64],
        entries: NDArray[np.intp] | None,
    ) -> Kinks | None:  # fmt: skip
        """Finds the kinks that the method `direct`, which gave `gradient`, crosses with steps up to h.

        Difference arithmetic sees a kink between two values, which the values themselves do not show.
        """
        _, crossed = self._exact("incremental", theta, h, runner, True, entries)
        if crossed is None:
            return None
        sharp, here = self._exact("incremental", theta, EXACT_STEPS[0], runner, True, entries)
        slopes = (sharp, sharp) if here is None else (sharp + here.low, sharp + here.high)
        low, high = (np.where(crossed.where, slope - gradient, 0.0) for slope in slopes)
        return Kinks(crossed.crossed, low, high)

    @cached_property
    def _decay(self) -> NDArray[np.float64]:
        return decay_of(self.network)

    def __repr__(self) -> str:
        return f"<loss of {self.network!r} on {self._engine.samples} samples>"
