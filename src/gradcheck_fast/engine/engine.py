"""Runs the three methods over a program and its data, one chunk of the samples after the other.

The loops themselves are compiled (`_loops.pyx`). This module gives them their tables, memory and threads, and runs them
in pieces.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import cached_property, partial
from typing import TYPE_CHECKING, Any

import numpy as np

from gradcheck_fast.engine import _gather, _loops, _packing
from gradcheck_fast.engine._program import NOTHING
from gradcheck_fast.engine._tape import Chunk, fill_slopes, fill_tape
from gradcheck_fast.engine.layout import PACKED_ROWS, PANEL, aligned, padded
from gradcheck_fast.engine.memory import Memories, Memory
from gradcheck_fast.engine.routes import Routes
from gradcheck_fast.engine.rows import lower
from gradcheck_fast.engine.sweep import Perturbation, Share, Sweep, Totals
from gradcheck_fast.engine.tables import Tables
from gradcheck_fast.kernels.instruction_sets import instruction_set
from gradcheck_fast.numerical.gradient import CHAIN_STEPS, NEAR_KINK, Kinks
from gradcheck_fast.program.steps.elementwise import WORK
from gradcheck_fast.running.jobs import Job
from gradcheck_fast.running.threads import resolve

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from gradcheck_fast.engine._program import CompiledProgram
    from gradcheck_fast.engine.sweep import PartialResult
    from gradcheck_fast.program.program import Program
    from gradcheck_fast.running.runner import Runner

#: The tape of a chunk of samples may take this many doubles (8 MiB), unless a chunk has the fewest samples.
CHUNK_DOUBLES = 1024 * 1024
#: In ``direct`` the tape of each thread may take this many doubles (4 MiB): it is written twice for every parameter.
DIRECT_DOUBLES = 512 * 1024
#: A chunk has at least this many samples, so that matrix products have rows to work on.
FEWEST_SAMPLES = 24
#: A chunk has at most this many samples.
MOST_SAMPLES = 1024
#: A task of the forward pass has at most this many samples.
FORWARD_SAMPLES = 120
#: The number of samples of a task of the forward pass is a multiple of this: the matrix kernel takes 12 rows at a time.
ROW_MULTIPLE = 12
#: With fewer estimated operations than this, starting threads costs more than it saves.
SERIAL_WORK = 2_000_000.0
#: Up to this step, pairs are computed by their odd half alone, in one row: what is left out, of the order of h², is
#: then below rounding (``docs/odd-half.md``).
LARGEST_ODD_STEP = 2.0**-27
#: Up to this many numbers are copied as fast by one thread as by several.
SERIAL_COPY = 32 * 1024


class Engine:
    """A program with its data, ready to be evaluated and perturbed; `Engine.of` makes one from a `Program`.

    `incremental` and `units` return (cost(+h) - cost(-h)) / 2h for every parameter, without the penalty. Several
    threads may call the methods at once: each call has its own memory.

    Parameters
    ----------
    tables : Tables
    inputs, targets : ndarray of float64, shape (samples, width)
        C-contiguous, and as wide as the program's input and cost steps say.
    chunk_samples : int, optional
        The number of samples in a chunk.
    """

    def __init__(
        self, tables: Tables, inputs: NDArray[np.float64], targets: NDArray[np.float64],
        chunk_samples: int | None = None,
    ) -> None:  # fmt: skip
        self.tables, self.program = tables, tables.rows
        self.inputs = inputs
        # a sum over the targets may read past their end, up to the end of the panel
        self.targets = aligned(targets.size + PANEL)[: targets.size].reshape(targets.shape)
        self.targets[...] = targets
        self._isa = instruction_set()
        self._compiled = Routes(tables).compile(self._isa)  # without routes: it only computes values
        self._rows = chunk_samples or self._chunk_samples(CHUNK_DOUBLES)
        self._memories = Memories()

    @classmethod
    def of(cls, program: Program, inputs: NDArray[np.float64], targets: NDArray[np.float64]) -> Engine:
        """Makes the engine of a program whose steps act on each sample's vector alone; a ValueError names another."""
        return cls(Tables(lower(program)), inputs, targets)

    def __reduce__(self) -> tuple[type[Engine], tuple[Any, ...]]:
        return Engine, (self.tables, self.inputs, self.targets, self._rows)

    def part(self, number: int) -> Engine:
        """Makes an engine that has only one chunk of the samples."""
        samples = slice(number * self._rows, (number + 1) * self._rows)
        return Engine(self.tables, self.inputs[samples], self.targets[samples], self._rows)

    @property
    def samples(self) -> int:
        return len(self.inputs)

    @cached_property
    def unit_routes(self) -> Routes:
        return Routes.of_units(self.tables)

    @cached_property
    def parameter_routes(self) -> Routes:
        return Routes.of_parameters(self.tables)

    def work(self, method: str, entries: NDArray[np.intp] | None = None) -> float:
        """Estimates the operations of a method for all parameters or some; `units` always finds all of them."""
        if method == "units":
            return self.samples * self.unit_routes.work_per_sample
        if method == "direct":
            size = self.program.size if entries is None else len(entries)
            return 2.0 * size * self._forward_work(self.samples)
        routes = self.parameter_routes
        return self.samples * (routes.work_per_sample if entries is None else routes.work_of(entries))

    def cost(self, theta: NDArray[np.float64], n_threads: int) -> float:
        """Returns the cost of all samples at the flat parameters `theta`, without the penalty."""
        with self._memory() as memory:
            packed = self._pack(memory, theta, n_threads)
            return float(np.concatenate([self._fill(chunk, packed, n_threads) for chunk in memory.chunks]).sum())

    def values(self, theta: NDArray[np.float64], steps: Sequence[int], n_threads: int) -> NDArray[np.float64]:
        """Returns the values of some row steps side by side, as an array of shape (samples, sum of their widths)."""
        places = [(self.tables.offsets[step], self.program.steps[step].width) for step in steps]
        columns = np.concatenate([np.arange(begin, begin + width) for begin, width in places])
        out = np.empty((self.samples, len(columns)))
        with self._memory() as memory:
            packed = self._pack(memory, theta, n_threads)
            for chunk in memory.chunks:
                self._fill(chunk, packed, n_threads)
                out[chunk.begin : chunk.begin + chunk.count] = chunk.tape[: chunk.count, columns]
        return out

    def direct(
        self, theta: NDArray[np.float64], plus: NDArray[np.float64], minus: NDArray[np.float64], runner: Runner,
        entries: NDArray[np.intp] | None = None,
    ) -> NDArray[np.float64]:  # fmt: skip
        """Runs two whole forward passes per parameter, with `plus` and `minus` in its place, in plain arithmetic.

        Returns the differences of the two costs, not divided by anything, in the shape of `plus` and `minus`.
        """
        costs = np.zeros((2, len(plus)))
        fill = self._direct_costs(theta, plus, minus, entries, costs, runner.n_threads)
        share = partial(self.share_of_costs, theta, plus, minus, entries, runner.n_threads)

        def put(begin: int, end: int, found: NDArray[np.float64]) -> None:
            costs[:, begin:end] = found

        what = ("direct", theta, plus, minus, entries)
        runner.run(Job(what, len(plus), (costs,), fill, share, put, runner.n_threads))
        with np.errstate(invalid="ignore"):  # infinite costs: the gradient is NaN, and reported as such
            changes: NDArray[np.float64] = costs[0] - costs[1]
        return changes

    def share_of_costs(
        self, theta: NDArray[np.float64], plus: NDArray[np.float64], minus: NDArray[np.float64],
        entries: NDArray[np.intp] | None, n_threads: int, begin: int, end: int,
    ) -> NDArray[np.float64]:  # fmt: skip
        """Returns the costs of `direct` for some parameters, shape (2, end - begin); another process calls this."""
        costs = np.zeros((2, len(plus)))
        self._direct_costs(theta, plus, minus, entries, costs, resolve(n_threads))(begin, end)
        return costs[:, begin:end]

    def _direct_costs(
        self, theta: NDArray[np.float64], plus: NDArray[np.float64], minus: NDArray[np.float64],
        entries: NDArray[np.intp] | None, costs: NDArray[np.float64], n_threads: int,
    ) -> Callable[[int, int], None]:  # fmt: skip
        """Returns a function that runs the parameters begin..end and adds what they cost to `costs`."""
        program = self.program
        if self.work("direct", entries) < SERIAL_WORK:
            n_threads = 1
        with self._memory() as memory:
            private = np.stack([self._pack(memory, theta, n_threads)] * n_threads)
        tapes = aligned(n_threads, self._chunk_samples(DIRECT_DOUBLES), self.tables.tape_stride)
        positions = self.tables.packing.positions(program.size)
        if entries is not None:
            positions = positions[entries]

        def fill(begin: int, end: int) -> None:
            for chunk in self._chunks(tapes[0]):
                _loops.direct(
                    self._compiled, private, positions, plus, minus, chunk, tapes, costs, begin, end, n_threads
                )

        return fill

    def incremental(
        self, theta: NDArray[np.float64], h: float, runner: Runner, *, kinks: bool = False,
        entries: NDArray[np.intp] | None = None,
    ) -> tuple[NDArray[np.float64], Kinks | None]:  # fmt: skip
        """Perturbs every parameter, or some, on its own by +h and -h, in difference arithmetic; others get 0.

        Returns
        -------
        gradient : ndarray, shape (size,)
        kinks : Kinks or None
            None if no kinks were crossed, or if they were not to be counted.
        """
        totals = Totals(self.program.size, kinks)
        for sweep in self._sweeps("incremental", theta, h, runner, totals, kinks=kinks, entries=entries):
            totals.gradient += sweep.found
            if sweep.crossed:
                totals.crossed += sweep.crossed
                totals.slopes += sweep.slopes
        return totals.gradient, totals.kinks

    def units(
        self, theta: NDArray[np.float64], h: float, runner: Runner, *, kinks: bool = False
    ) -> tuple[NDArray[np.float64], Kinks | None]:
        """Perturbs every unit (each sample's outputs of affine steps) by +h and -h, in difference arithmetic.

        An affine step is linear in its parameters. So the slope of the cost by a parameter is that by the unit, times
        what the parameter is multiplied with. Returns the gradient and kinks, as `incremental` does.
        """
        totals = Totals(self.program.size, kinks)
        for sweep in self._sweeps("units", theta, h, runner, totals, kinks=kinks):
            program, _ = self._compiled_unit_routes
            rows = sweep.memory.get("rows", sweep.n_threads, PACKED_ROWS * (self._widest + 8))
            _gather.gather(
                program,
                sweep.chunk,
                sweep.found,
                self._uses,
                totals.gradient,
                sweep.chunk.begin > 0,
                rows,
                sweep.n_threads,
            )
            if sweep.crossed:
                totals.crossed += sweep.crossed
                self._spread_slopes(sweep.chunk, sweep.slopes, totals.slopes)
        return totals.gradient, totals.kinks

    def share(
        self, number: int, theta: NDArray[np.float64], perturbation: Perturbation, n_threads: int, begin: int, end: int
    ) -> PartialResult:
        """Returns what the tasks begin..end of a chunk of the samples find; another process calls this."""
        n_threads = resolve(n_threads)
        with self._memory() as memory:
            packed = self._pack(memory, theta, n_threads)
            sweep = self._prepare(memory, memory.chunks[number], packed, perturbation, n_threads)
            sweep.perturb(begin, end)
            return sweep.partial_result(begin, end)

    def _sweeps(
        self, name: str, theta: NDArray[np.float64], h: float, runner: Runner, totals: Totals, *, kinks: bool,
        entries: NDArray[np.intp] | None = None,
    ) -> Iterator[Sweep]:  # fmt: skip
        """Perturbs all units or parameters; yields what each chunk of the samples finds. `totals` is kept with that."""
        perturbation = Perturbation(h, name != "incremental", kinks, entries)
        key = (name, theta, *perturbation)
        with self._memory() as memory:
            packed = self._pack(memory, theta, runner.n_threads)
            for number, part in runner.series(key, len(memory.chunks), totals.arrays):
                sweep = self._prepare(memory, memory.chunks[number], packed, perturbation, runner.n_threads)
                share = Share(self, number, (theta, perturbation, runner.n_threads))
                part.run(sweep.job((*key, number), share))
                yield sweep

    # ---- parts

    @cached_property
    def _units(self) -> int:
        """The number of units of a sample, with the outputs of each step rounded up to whole panels."""
        return sum(padded(self.program.steps[step].width) for step in self.tables.unit_offsets)

    @cached_property
    def _widest(self) -> int:
        return max((padded(p.columns) for p in self.program.parameters), default=0)

    @cached_property
    def _uses(self) -> _gather.Uses:
        """The terms in which each parameter is used, as `_gather.gather` reads them."""
        begins = np.array([self.tables.unit_offsets[step] for step, _ in self.program.terms], np.intp)
        numbers = np.array([term.parameter.number for _, term in self.program.terms], np.intp)
        counts = np.bincount(numbers, minlength=len(self.program.parameters))
        first = np.concatenate([[0], np.cumsum(counts)])
        return _gather.Uses(begins, np.argsort(numbers, kind="stable"), first, self.tables.packing.tasks)

    @cached_property
    def _compiled_unit_routes(self) -> tuple[CompiledProgram, CompiledProgram]:
        return self.unit_routes.compile(self._isa), self.unit_routes.compile(self._isa, rows=1)

    @cached_property
    def _compiled_parameter_routes(self) -> tuple[CompiledProgram, CompiledProgram]:
        return self.parameter_routes.compile(self._isa), self.parameter_routes.compile(self._isa, rows=1)

    def _by_sample(self, chunk: Chunk, units: NDArray[np.float64], step: int) -> NDArray[np.float64]:
        """Returns the units of one affine step, out of those of all, as an array of shape (..., samples, width)."""
        width, samples = self.program.steps[step].width, len(chunk.tape)
        begin = self.tables.unit_offsets[step] * samples
        panels = units[..., begin : begin + padded(width) * samples].reshape(*units.shape[:-1], -1, samples, PANEL)
        return panels.swapaxes(-3, -2).reshape(*units.shape[:-1], samples, -1)[..., : chunk.count, :width]

    def _spread_slopes(self, chunk: Chunk, slopes: NDArray[np.float64], totals: NDArray[np.float64]) -> None:
        """Adds to `totals` how far from the result the slopes by each parameter may lie, found from those by units."""
        program = self.program
        for step, term in program.terms:
            by_sample = self._by_sample(chunk, slopes, step)
            some = np.flatnonzero(by_sample.any(axis=(0, 2)))
            if not len(some):
                continue
            low, high = by_sample[:, some]
            begin = self.tables.offsets[term.step]
            count = term.parameter.columns if term.diagonal else term.parameter.rows
            factor = np.ones((len(some), 1)) if term.step == NOTHING else chunk.tape[some, begin : begin + count]
            up, down = np.maximum(factor, 0.0), np.minimum(factor, 0.0)
            for to, above, below in ((totals[0], low, high), (totals[1], high, low)):
                found = (up * above + down * below).sum(axis=0) if term.diagonal else up.T @ above + down.T @ below
                term.parameter.of(to)[...] += found

    @contextmanager
    def _memory(self) -> Iterator[Memory]:
        """Lends memory that has chunks."""
        with self._memories.lend() as memory:
            if not memory.chunks:
                memory.chunks = self._chunks(aligned(self._rows, self.tables.tape_stride))
            yield memory

    def _prepare(
        self, memory: Memory, chunk: Chunk, packed: NDArray[np.float64], perturbation: Perturbation, n_threads: int
    ) -> Sweep:
        """Fills the tape of a chunk, and returns a sweep over it that has found nothing yet."""
        h, by_units, kinks, entries = perturbation
        if self.work("units" if by_units else "incremental", entries) < SERIAL_WORK:
            n_threads = 1
        self._fill(chunk, packed, n_threads)
        routes = self.unit_routes if by_units else self.parameter_routes
        tasks = routes.tasks(chunk.count, entries)
        size = len(chunk.tape) * self._units if by_units else self.program.size
        # results by parameter take too much memory to be kept for the next call
        new = memory.cleared if by_units else lambda _, *shape: np.zeros(shape)
        pairs, odd = self._compiled_unit_routes if by_units else self._compiled_parameter_routes
        slopes = memory.get("rows of slopes", len(chunk.tape), self.tables.slope_stride)
        near = np.ones(chunk.count, np.uint8)
        if h <= LARGEST_ODD_STEP:
            narrow, distance = min(h, CHAIN_STEPS[0]), max(h, NEAR_KINK)
            fill_slopes(odd, chunk, narrow, distance, slopes, near, n_threads)
        work = _loops.Workspace(
            pairs, odd, packed, chunk, tasks.table, h, slopes, near,
            memory.get("scratch", n_threads, routes.scratch),
            memory.get("numbers", n_threads, routes.numbers).view(np.intp),
            new("found", size), new("slopes", 2 if kinks else 0, size),
            memory.cleared("counts", len(tasks.table)).view(np.intp),
        )  # fmt: skip
        method = _loops.units if by_units else partial(_loops.incremental, chosen=tasks.chosen)
        return Sweep(memory, work, method, n_threads, tasks)

    def _pack(self, memory: Memory, theta: NDArray[np.float64], n_threads: int) -> NDArray[np.float64]:
        packing = self.tables.packing
        packed = memory.get("packed", packing.size)
        if len(packing.tasks):
            _packing.pack(self._compiled, packing.tasks, theta, packed, 1 if packing.size < SERIAL_COPY else n_threads)
        return packed

    def _chunk_samples(self, doubles: int) -> int:
        """Returns how many samples a chunk has if its tape may take this many doubles; all are of about one size."""
        wanted = doubles // self.tables.tape_stride
        chunks = -(-self.samples // max(FEWEST_SAMPLES, min(MOST_SAMPLES, wanted)))
        return -(-self.samples // chunks)

    def _chunks(self, tape: NDArray[np.float64]) -> list[Chunk]:
        """Cuts the data into chunks that share one tape; each has as many samples as the tape has rows, or fewer."""
        return [
            Chunk(self.inputs, self.targets, tape, begin, min(len(tape), self.samples - begin))
            for begin in range(0, self.samples, len(tape))
        ]

    def _forward_work(self, samples: int) -> float:
        return samples * (2.0 * self.program.size + WORK * self.tables.tape_stride)

    def _fill(self, chunk: Chunk, packed: NDArray[np.float64], n_threads: int) -> NDArray[np.float64]:
        """Fills the chunk's tape, and returns the cost of every sample."""
        costs = np.zeros(chunk.count)
        n_threads = 1 if self._forward_work(chunk.count) < SERIAL_WORK else n_threads
        block = min(FORWARD_SAMPLES, -(-chunk.count // n_threads // ROW_MULTIPLE) * ROW_MULTIPLE)
        fill_tape(self._compiled, packed, chunk, costs, block, n_threads)
        return costs
