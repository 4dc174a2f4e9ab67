"""Runs programs of tensors: the cost, its derivative by every parameter, and its change along a direction.

`chain` multiplies, from the last step back, what comes back to a step by the central difference of that step alone: the
whole gradient in the time of about three forward passes. It contains the chain rule, so it does not vouch for itself.
`Point.along` does: it is the true difference of the whole cost, and uses neither slopes nor transposes.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np

from gradcheck_fast.engine._tensors import SCRATCH, Places, Work, run
from gradcheck_fast.engine.layout import PANEL, aligned
from gradcheck_fast.engine.memory import Memories
from gradcheck_fast.engine.plan import Plan
from gradcheck_fast.kernels.instruction_sets import instruction_set
from gradcheck_fast.numerical.gradient import CHAIN_STEPS, NEAR_KINK
from gradcheck_fast.program import twin
from gradcheck_fast.program.primitive import SLOPE_STEP
from gradcheck_fast.program.steps.affine import AFFINE
from gradcheck_fast.running.jobs import Job
from gradcheck_fast.running.threads import resolve

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from gradcheck_fast.engine._tensors import TensorProgram
    from gradcheck_fast.engine.executor import AtPoint, Executor
    from gradcheck_fast.program.program import Program, Step
    from gradcheck_fast.running.runner import Runner

#: The tapes of a chunk of samples may take this many doubles (16 MiB), unless a chunk has the fewest samples.
CHUNK_DOUBLES = 2 * 1024 * 1024
#: A chunk has at least this many samples, so that matrix products have rows to work on.
FEWEST_SAMPLES = 48
#: The gradients of the shares of the samples may take this many doubles (256 MiB), before they are added up.
SHARE_DOUBLES = 32 * 1024 * 1024
#: A vector of the size of the parameters is kept for the next call if it has no more doubles than this (32 MiB).
KEPT_DOUBLES = 4 * 1024 * 1024
#: The samples are cut into at most this many shares.
MOST_SHARES = 16
#: A chained gradient with its certificate takes about as long as this many forward passes.
PASSES = 14.0


class TensorEngine:
    """A program of tensors with its data. Several threads may use it at once, each at its own `Point`.

    Parameters
    ----------
    program : Program
        Of steps that keep the samples apart.
    inputs, targets : ndarray of float64, shape (samples, width)
        C-contiguous, and as wide as the program's input steps say.
    """

    smallest_step = CHAIN_STEPS[0]

    def __init__(self, program: Program, inputs: NDArray[np.float64], targets: NDArray[np.float64]) -> None:
        self.program, self.inputs = program, inputs
        # a sum over the targets may read past their end, up to the end of the panel
        self.targets = aligned(targets.size + PANEL)[: targets.size].reshape(targets.shape)
        self.targets[...] = targets
        self.isa = instruction_set()
        self.memories = Memories()

    def __reduce__(self) -> tuple[type[TensorEngine], tuple[Any, ...]]:
        return TensorEngine, (self.program, self.inputs, self.targets)

    @property
    def samples(self) -> int:
        return len(self.inputs)

    @property
    def computed(self) -> list[int]:
        return self.plan.computed

    @cached_property
    def sizes(self) -> list[int]:
        """The number of entries of each array of the parameters."""
        return self.program.sizes

    @cached_property
    def work(self) -> float:
        """The estimated operations of a chained gradient with its certificate."""
        return PASSES * sum(self.program.work)

    @cached_property
    def units_work(self) -> float:
        """Roughly the operations of perturbing every unit of every sample: for each, all that comes after it."""
        after, total = 0.0, 0.0
        for step, work in reversed(list(zip(self.program.steps, self.program.work, strict=True))):
            if step.name == AFFINE.name:
                total += 2.0 * step.shape[-1] * after
            after += work
        return total

    @cached_property
    def chunk_samples(self) -> int:
        """How many samples are run at once; all chunks are of about one size."""
        one = Plan(self.program, 1)
        wanted = CHUNK_DOUBLES // max(1, one.values + one.backs)
        chunks = -(-self.samples // max(FEWEST_SAMPLES, wanted))
        return -(-self.samples // chunks)

    @cached_property
    def plan(self) -> Plan:
        return Plan(self.program, self.chunk_samples)

    @cached_property
    def compiled(self) -> TensorProgram:
        return self.plan.compile(self.isa)

    @cached_property
    def shares(self) -> list[list[slice]]:
        """The samples in shares, whose gradients are added up in this order, and each share in chunks."""
        each = self.chunk_samples
        chunks = [slice(begin, min(begin + each, self.samples)) for begin in range(0, self.samples, each)]
        count = min(len(chunks), MOST_SHARES, max(1, SHARE_DOUBLES // max(1, self.program.size)))
        ends = np.linspace(0, len(chunks), count + 1).round().astype(int)
        return [chunks[begin:end] for begin, end in pairwise(ends)]

    def at(self, theta: NDArray[np.float64], n_threads: int) -> Point:
        """Returns the program at the flat parameters `theta`, which are not changed as long as that is in use."""
        return Point(self, theta, n_threads)


class Chunk:
    """Some samples of which the values of all steps are known.

    Attributes
    ----------
    places : Places
        Where the executor finds everything.
    samples : slice
    """

    def __init__(self, point: Point, places: Places, samples: slice, tape: NDArray[np.float64]) -> None:
        self.places, self.samples = places, samples
        self._point, self._tape = point, tape

    @property
    def count(self) -> int:
        """How many samples these are."""
        return int(self.samples.stop - self.samples.start)

    @cached_property
    def values(self) -> list[NDArray[np.float64]]:
        """The value of every step, as the plain rules take it; no cost depends on those that are not run."""
        engine, program = self._point.engine, self._point.engine.program
        leaves = program.leaves(self._point.theta, engine.inputs[self.samples], engine.targets[self.samples])
        known = engine.plan.read(self._tape, "offset", self.count) | program.with_parts(leaves)
        return [known[number] for number in range(len(program.steps))]

    def attributes(self, step: Step) -> Mapping[str, Any]:
        """Returns a step's attributes with the number of these samples in place of that of all."""
        sized = {"shape": (self.count, *step.shape[1:])} if "shape" in step.attributes else {}
        return {**step.attributes, **sized}

    def changes(self, direction: NDArray[np.float64], h: float) -> Mapping[int, NDArray[np.float64]]:
        return self._point.changes(self, direction, (h,))[0]

    def backs(self) -> dict[int, NDArray[np.float64]]:
        """Returns what goes back to every step, parameter, and part of a parameter, from these samples."""
        program, gradient = self._point.engine.program, np.zeros(self._point.engine.program.size)
        ones = {number: np.ones_like(self.values[number]) for number in program.costs}
        arrays = program.with_parts(program.arrays(gradient))
        found = ones | self._point.sensitivities(self, SLOPE_STEP) | arrays
        self._point.chain_chunk(self, SLOPE_STEP, gradient)
        return found


class Point:
    """A program at some parameters; used as a context, in which it has memory.

    The values of all steps are computed once if all samples are run at once, and otherwise for each chunk of them
    whenever they are needed.

    Parameters
    ----------
    engine : TensorEngine
    theta : ndarray of float64, shape (size,)
        The parameters.
    n_threads : int
    """

    def __init__(self, engine: TensorEngine, theta: NDArray[np.float64], n_threads: int) -> None:
        self.engine, self.theta, self.n_threads = engine, theta, n_threads
        self._stack = ExitStack()
        self._only: Chunk | None = None

    def __enter__(self) -> Point:
        self._memory = self._stack.enter_context(self.engine.memories.lend())
        return self

    def __exit__(self, *error: Any) -> bool | None:
        self._only = None  # it refers to this point, and both to vectors of the size of the parameters
        return self._stack.__exit__(*error)

    def cost(self) -> float:
        """Returns the cost of all samples."""
        costs = self.engine.plan.costs
        return sum(chunk.places.column(cost) for chunk in self.chunks() for cost in costs)

    def gradient(self, h: float) -> NDArray[np.float64]:
        """Returns the derivatives of the cost by all parameters, chained in this process; see `chain`."""
        total = np.zeros(self.engine.program.size)
        for share in range(len(self.engine.shares)):
            own = np.zeros_like(total) if share else total
            self.chain(h, share, own)
            if share:
                total += own
        return total

    def chain(self, h: float, share: int, gradient: NDArray[np.float64]) -> int:
        """Adds the derivatives of the cost of one share of the samples to `gradient`, which holds zeros.

        They are chained from central differences, with the step h, of single steps. Returns how many values lie on
        kinks: within h, or within `NEAR_KINK` where h is smaller.
        """
        kinks = 0
        for k, chunk in enumerate(self.chunks(share)):
            self.chain_chunk(chunk, h, gradient, k > 0)
            kinks += self._kinks(chunk, max(h, NEAR_KINK))
        return kinks

    def along(self, direction: NDArray[np.float64], scales: Sequence[float]) -> NDArray[np.float64]:
        """Returns how much the cost changes if the parameters move by a direction times one or two scales.

        No two costs are subtracted: each step computes its own exact difference, of any size.

        Parameters
        ----------
        direction : ndarray of float64, shape (size,)
        scales : sequence of float
            One or two.

        Returns
        -------
        ndarray of float64, shape (number of scales,)
        """
        plan, total = self.engine.plan, np.zeros(len(scales))
        for chunk in self.chunks():
            self._change(chunk, direction, scales)
            for s in range(len(total)):
                total[s] += sum(chunk.places.column(cost, s) for cost in plan.moved_costs)
        return total

    def vector(self) -> NDArray[np.float64]:
        """Returns memory of the size of the parameters; if that is not much, the next call uses it again."""
        size = self.engine.program.size
        return np.empty(size) if size > KEPT_DOUBLES else self._memory.get("vector", size)

    # ---- one chunk of the samples

    def parts(self) -> Iterator[Chunk]:
        return self.chunks()

    def chunks(self, share: int | None = None) -> Iterator[Chunk]:
        """Yields the chunks of one share, or of all, one after the other, with the values of all steps."""
        if self._only:
            yield self._only
            return
        engine, plan = self.engine, self.engine.plan
        scratch = self._memory.get("scratch", self.n_threads, max(SCRATCH, plan.scratch))
        tape = self._memory.get("values", plan.values)
        shares = engine.shares if share is None else [engine.shares[share]]
        for samples in (chunk for chunks in shares for chunk in chunks):
            count = samples.stop - samples.start
            data = engine.inputs[samples], engine.targets[samples]
            places = Places(engine.compiled, count, self.theta, *data, tape, scratch)
            parts, waves = plan.forward(count, self.n_threads)
            run(places, Work.VALUE, parts, waves, 0, 0.0, False, self.n_threads)
            chunk = Chunk(self, places, samples, tape)
            if count == engine.samples:
                self._only = chunk
            yield chunk

    def chain_chunk(self, chunk: Chunk, h: float, gradient: NDArray[np.float64], accumulate: bool = False) -> None:
        """Writes the derivatives of the cost of these samples into `gradient`, or adds them to it."""
        plan = self.engine.plan
        chunk.places.with_sensitivities(self._memory.get("backs", plan.backs), gradient)
        parts, waves = plan.backward(chunk.count, self.n_threads)
        run(chunk.places, Work.BACK, parts, waves, 0, h, accumulate, self.n_threads)

    def changes(
        self, chunk: Chunk, direction: NDArray[np.float64], scales: Sequence[float]
    ) -> list[dict[int, NDArray[np.float64]]]:
        """Returns by how much each step changes, for each of one or two scales of a direction; see `along`."""
        tapes = self._change(chunk, direction, scales)
        return [self.engine.plan.read(tape, "change", chunk.count) for tape in tapes[: len(scales)]]

    def sensitivities(self, chunk: Chunk, h: float) -> dict[int, NDArray[np.float64]]:
        """Returns the derivatives of the cost by the entries of each step between the parameters and the costs."""
        plan = self.engine.plan
        tape = self._memory.get("backs", plan.backs)
        chunk.places.with_sensitivities(tape)
        parts, waves = plan.backward(chunk.count, self.n_threads, parameters=False)
        run(chunk.places, Work.BACK, parts, waves, 0, h, False, self.n_threads)
        return plan.read(tape, "back", chunk.count)

    def _change(self, chunk: Chunk, direction: NDArray[np.float64], scales: Sequence[float]) -> NDArray[np.float64]:
        plan, factors = self.engine.plan, np.array(scales, np.float64)
        tapes = self._memory.get("changes", 2, plan.changes)
        chunk.places.with_changes(tapes, direction, factors)
        parts, waves = plan.changing(chunk.count, self.n_threads)
        run(chunk.places, Work.CHANGE, parts, waves, len(factors), 0.0, False, self.n_threads)
        return tapes

    def _kinks(self, chunk: Chunk, distance: float) -> int:
        found, steps = 0, self.engine.program.steps
        for number in self.engine.plan.kinked:
            step = steps[number]
            margins = step.primitive.kinks([chunk.values[k] for k in step.inputs], **step.attributes)
            found += int(np.count_nonzero(np.abs(margins) <= distance))
        return found


def chain(point: AtPoint, h: float, runner: Runner) -> tuple[NDArray[np.float64], int]:
    """Finds the derivative of the cost by every parameter, chained from central differences of single steps.

    Parameters
    ----------
    point : AtPoint
    h : float
        The step of the slopes.
    runner : Runner
        Does the work, share by share.

    Returns
    -------
    gradient : ndarray of float64, shape (size,)
        Bitwise the same for any number of threads and workers.
    kinks : int
        How many values lie on kinks; see `Point.chain`.
    """
    count = len(point.engine.shares)
    found, kinks = np.zeros((count, point.engine.program.size)), np.zeros(count, np.intp)

    def here(begin: int, end: int) -> None:
        for share in range(begin, end):
            kinks[share] = point.chain(h, share, found[share])

    def put(begin: int, end: int, results: tuple[NDArray[np.float64], NDArray[np.intp]]) -> None:
        found[begin:end], kinks[begin:end] = results

    shares = _Shares(point.engine, point.theta, h, point.n_threads)
    runner.run(Job(("chain", point.theta, h), count, (found, kinks), here, shares, put))
    total: NDArray[np.float64] = found[0] if count == 1 else found[0].copy()  # the others are let go
    for more in found[1:]:
        total += more
    return total, int(kinks.sum())


def spreads(point: Point, h: float) -> NDArray[np.float64]:
    """Returns how far the derivative by each parameter may be from the one that is chained with h, because of kinks.

    That is an upper bound: every value on a kink may take any slope between those of its two sides. It is 0 for the
    parameters that no kink reaches. See `twin.spreads`.
    """
    program, total = point.engine.program, np.zeros(point.engine.program.size)
    views = program.arrays(total)
    for chunk in point.chunks():
        found = twin.spreads(program, chunk.values, point.sensitivities(chunk, h), max(h, NEAR_KINK))
        for number in program.parameters:
            if number in found:
                views[number][...] += found[number]
    return total


@dataclass(frozen=True, eq=False, repr=False)
class _Shares:
    """Chains some shares of the samples; another process calls this."""

    engine: Executor
    theta: NDArray[np.float64]
    h: float
    n_threads: int

    def __call__(self, begin: int, end: int) -> tuple[NDArray[np.float64], NDArray[np.intp]]:
        found = np.zeros((end - begin, self.engine.program.size))
        kinks = np.zeros(end - begin, np.intp)
        with self.engine.at(self.theta, resolve(self.n_threads)) as point:
            for share in range(begin, end):
                kinks[share - begin] = point.chain(self.h, share, found[share - begin])
        return found, kinks
