"""The loss of a network on given data: its cost and its central differences."""

from __future__ import annotations

from functools import cached_property, partial
from typing import TYPE_CHECKING, NamedTuple, Protocol

import numpy as np

from gradcheck_fast.engine.certificate import DIRECTIONS
from gradcheck_fast.engine.chain import TensorEngine, spreads
from gradcheck_fast.engine.engine import Engine
from gradcheck_fast.engine.rounding import roundings
from gradcheck_fast.inputs import _norms
from gradcheck_fast.inputs.arguments import choose, duration
from gradcheck_fast.inputs.arrays import digest
from gradcheck_fast.inputs.trees import Packed, Tree, entry_name, pack_as
from gradcheck_fast.losses.chained import Chained, chained
from gradcheck_fast.losses.problem import OF_PROGRAMS
from gradcheck_fast.numerical.evaluate import OwnCost
from gradcheck_fast.numerical.gradient import (
    CHAIN_STEPS,
    EXACT_STEP,
    EXACT_STEPS,
    Kinks,
    Numerical,
    jitter,
    plain_steps,
)
from gradcheck_fast.running.threads import resolve

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from gradcheck_fast.program.program import Program
    from gradcheck_fast.running.runner import Runner

#: ``auto`` perturbs units, or the entries that are wanted, where that takes no more than this many estimated
#: operations: less than about 50 ms with two threads.
NOTICED_WORK = 5e9
#: How many times that the operations must be by a rough count, for the perturbations not even to be planned.
SURELY_NOTICED = 100.0
#: A sum of more terms than this may lose more digits, added up one after the other: equal terms lose N/20 roundings.
LONG_SUM = 200.0
#: At kinks that is done for the entries that a kink reaches, if it takes no more than this many operations.
KINK_WORK = 5e10


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

    Parameters
    ----------
    network : Described
    program : Program
        What computes the cost, without the penalty.
    given : Given

    Attributes
    ----------
    directions : int
        Along how many random directions a chained gradient is compared with differences of the cost: 2, unless you set
        it. With n of them, the size from which on an error would have been seen goes down as 100^(1/n).
    """

    directions = DIRECTIONS
    methods = (*OF_PROGRAMS, "direct")
    has_exact_changes = True

    def __init__(self, network: Described, program: Program, given: Given) -> None:
        self.network = network
        self.program = program
        self.given = given

    @cached_property
    def _engine(self) -> Engine:
        """Perturbs parameters and units."""
        return Engine.of(self.program, self.given.data.inputs, self.given.targets)

    @cached_property
    def _tensors(self) -> TensorEngine:
        """Chains, and moves all parameters at once."""
        return TensorEngine(self.program, self.given.data.inputs, self.given.targets)

    @property
    def samples(self) -> int:
        """How many samples the data have."""
        return self.given.data.samples

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

    def change(
        self, theta: NDArray[np.float64], direction: NDArray[np.float64], step: float, n_threads: int = 1
    ) -> float:
        """Gives the exact change of the cost when the flat parameters `theta` move by step times direction."""
        with self._tensors.at(theta, n_threads) as point:
            (change,) = point.along(direction, (step,))
        if self.network.penalty:  # ½λ(w + d)² - ½λw² = λd (w + ½d)
            change += float(step * (self._decay * direction) @ (theta + (0.5 * step) * direction))
        return float(change)

    def costs_at(self, params: Packed, n_threads: int) -> OwnCost:
        """Gives the cost as a function of flat vectors that uses `n_threads` threads."""
        return OwnCost(partial(self.cost, params, n_threads=n_threads))

    def pack(self, params: Tree) -> Packed:
        """Makes a flat vector of parameters of this network; `trees.pack_as` says in which forms they may be."""
        return pack_as(params, self.network.shapes)

    def fingerprint(self, params: Packed) -> str:
        """Gives a text that depends on the network and its data."""
        return digest(self.network, self.given.data.inputs, self.given.targets)

    def faster(self, method: str, seconds: float, entries: NDArray[np.intp] | None = None) -> str:
        """Says what would take less than these seconds."""
        works = {other: self._engine.work(other, entries) for other in ("units", "incremental", "direct")}
        works["chain"] = self._tensors.work
        least = min(works, key=lambda other: works[other])
        if method in ("auto", least):
            return "with fewer samples it takes less, and executor= spreads it over more processes"
        return f"method={least!r} would take about {duration(works[least] / works[method] * seconds)}"

    def central_differences(
        self, params: Packed, *, method: str, step: float | None, runner: Runner, kinks: bool = False,
        entries: NDArray[np.intp] | None = None,
    ) -> Numerical:  # fmt: skip
        """Finds the central differences (E(p + h) - E(p - h)) / 2h; see `Problem`."""
        method = choose("method", method, ("auto", *self.methods))
        if method == "auto":
            method = self._chosen(entries)
        if entries is not None and (method in ("units", "chain") or len(entries) == len(params.flat)):
            return self.central_differences(params, method=method, step=step, runner=runner, kinks=kinks).of(entries)
        theta, some = params.flat, slice(None) if entries is None else entries
        rounding = lambda: self._roundings(theta, runner)[some]
        if method == "direct":
            gradient = self._direct(theta, step, 1.0, runner, entries)
            again = lambda times: self._direct(jitter(theta), step, times, runner.quietly(), entries)
            width = plain_steps(theta, step, self._name)[2]
            noise = lambda: abs(self._engine.cost(theta, runner.n_threads)) / width[some]
            quietly, h = runner.quietly("kinks"), float(width.max(initial=0.0)) / 2.0
            found = self._kinks(theta, h, quietly, gradient, entries) if kinks else None
            return Numerical(gradient, method, False, step, again, noise, rounding, found)
        certificate = None
        steps = CHAIN_STEPS if method == "chain" else EXACT_STEPS
        for h in steps if step is None else (step,):
            if method == "chain":
                gradient, found, certificate = self._chained(theta, h, runner, certify=True)
            else:
                gradient, found = self._exact(method, theta, h, runner, kinks, entries)
            if certificate is not None or _norms.all_finite(gradient):
                break
        if method == "chain":
            again = lambda times: self._chained(jitter(theta), times * h, runner.quietly(), certify=False)[0]
            if found and certificate and certificate.holds:
                found = self._decided(theta, h, runner, gradient, found)
        else:
            again = lambda times: self._exact(method, jitter(theta), times * h, runner.quietly(), False, entries)[0]
        notes = (certificate.complaint,) if certificate and not certificate.holds else ()
        return Numerical(
            gradient, method, True, h, again, lambda: 0.0, rounding, found, finish=lambda: notes,
            certificate=certificate,
        )  # fmt: skip

    def _name(self, entry: int) -> str:
        return entry_name(self.network.shapes, entry)

    def _cheaper(self, entries: NDArray[np.intp] | None) -> str:
        return min(("units", "incremental"), key=lambda method: self._engine.work(method, entries))

    def _chosen(self, entries: NDArray[np.intp] | None) -> str:
        """Returns the method of ``auto``: the most independent evidence that takes no longer than a user notices."""
        if entries is None and self._tensors.units_work > SURELY_NOTICED * NOTICED_WORK:
            return "chain"  # without a plan of perturbations, which may take longer than the chain
        cheaper = self._cheaper(entries)
        return cheaper if self._engine.work(cheaper, entries) <= NOTICED_WORK else "chain"

    def _roundings(self, theta: NDArray[np.float64], runner: Runner) -> NDArray[np.float64]:
        with self._tensors.at(theta, runner.n_threads) as point:
            found = roundings(point)
        found *= max(1.0, self.samples * self.times / LONG_SUM)
        return found

    def _chained(self, theta: NDArray[np.float64], h: float, runner: Runner, *, certify: bool) -> Chained:
        """Finds the gradient by the chain; one that is not confirmed is NaN."""
        with self._tensors.at(theta, runner.n_threads) as point:
            slopes = partial(spreads, point, h)
            found = chained(point, h, runner, slopes, self.directions if certify else None)
        if _norms.all_finite(found.gradient):
            self._add_penalty(found.gradient, theta)
        return found

    def _decided(
        self, theta: NDArray[np.float64], h: float, runner: Runner, gradient: NDArray[np.float64], kinks: Kinks
    ) -> Kinks | None:
        """Finds the entries that a kink reaches by perturbations, unless that takes too long, and puts them in."""
        reached = np.flatnonzero(kinks.where)
        method = self._cheaper(reached)
        if self._engine.work(method, reached) > KINK_WORK:
            return kinks
        h = max(h, EXACT_STEP)
        gradient[reached], single = self._exact(method, theta, h, runner.quietly("kinks"), True, reached)
        if single is None:
            return None
        kinks.low[reached], kinks.high[reached] = single.low, single.high
        return kinks

    def _exact(
        self, method: str, theta: NDArray[np.float64], h: float, runner: Runner, kinks: bool,
        entries: NDArray[np.intp] | None,
    ) -> tuple[NDArray[np.float64], Kinks | None]:  # fmt: skip
        if method == "units":
            gradient, found = self._engine.units(theta, h, runner, kinks=kinks)
        else:
            gradient, found = self._engine.incremental(theta, h, runner, kinks=kinks, entries=entries)
        self._add_penalty(gradient, theta)
        if entries is None:
            return gradient, found
        return gradient[entries], found.of(entries) if found else None

    def _add_penalty(self, gradient: NDArray[np.float64], theta: NDArray[np.float64]) -> None:
        """Adds the central differences of the penalty, which are known: ½λ(w + h)² - ½λ(w - h)² = λw (2h)."""
        if self.network.penalty:
            with np.errstate(over="ignore", invalid="ignore"):
                gradient += self._decay * theta

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
        return f"<loss of {self.network!r} on {self.samples} samples>"
