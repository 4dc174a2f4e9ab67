"""The three methods over a program and its data: who is perturbed, chunk by chunk of the samples.

The loops themselves are compiled (`_engine.pyx`); here they are given their tables, their scratch memory and their
threads, and run in pieces.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, NamedTuple, TypeAlias

import numpy as np

from . import _engine, _program
from .program import NOTHING, PANEL, aligned, padded
from .progress import PIECE_SECONDS, pieces
from .routes import WORK_ELEMENTWISE, Routes

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from .program import Program, Term

Report: TypeAlias = Callable[[float], object]

#: Doubles that the tape of a chunk of samples may take (8 MiB), whatever the number of samples.
CHUNK_DOUBLES = 1024 * 1024
#: The same for each thread's private tape in ``direct`` (1 MiB: it is written twice for every parameter).
DIRECT_DOUBLES = 128 * 1024
#: Samples in a chunk at least, so that matrix products have rows to work on, and at most.
FEWEST_SAMPLES, MOST_SAMPLES = 24, 1024
#: Samples of one task of the forward pass.
FORWARD_SAMPLES = 24
#: Estimated operations below which starting threads costs more than it saves.
SERIAL_WORK = 2_000_000.0
#: Estimated operations per second that any machine does.
SURE_SPEED = 1e9
#: Blocks of rows in one task of ``incremental``.
BLOCKS_PER_TASK = 4


def instruction_set() -> str:
    """The best instruction set of this CPU, or the one that ``GRADCHECK_FAST_ISA`` names.

    Raises
    ------
    ValueError
        If the variable names one that this build or this CPU does not have.
    """
    available = _program.instruction_sets()
    chosen = os.environ.get("GRADCHECK_FAST_ISA") or available[0]
    if chosen not in available:
        raise ValueError(f"GRADCHECK_FAST_ISA: {chosen!r} is not available here; {', '.join(available)} are")
    return chosen


class _Run(NamedTuple):
    """What a method that propagates differences needs besides its tasks."""

    compiled: _program.CompiledProgram
    theta: NDArray[np.float64]
    scratch: NDArray[np.float64]
    numbers: NDArray[np.intp]
    n_threads: int


class Engine:
    """A program with its data, ready to be evaluated and perturbed.

    The methods give cost(+h) - cost(-h) for every parameter, without the penalty.

    Parameters
    ----------
    program : Program
    inputs, targets : ndarray, shape (samples, width)
        float64, C-contiguous, as wide as the program's input and cost steps say.
    """

    def __init__(self, program: Program, inputs: NDArray[np.float64], targets: NDArray[np.float64]) -> None:
        self._program = program
        self._inputs = inputs
        self._targets = targets
        self._isa = instruction_set()
        self._compiled = Routes(program).compile(self._isa)  # for values: no routes

    @property
    def samples(self) -> int:
        return len(self._inputs)

    @cached_property
    def unit_routes(self) -> Routes:
        return Routes.of_units(self._program)

    @cached_property
    def parameter_routes(self) -> Routes:
        return Routes.of_parameters(self._program)

    def work(self, routes: Routes) -> float:
        """Estimated operations of a method, by its routes."""
        return routes.total_work(self.samples)

    def cost(self, theta: NDArray[np.float64], n_threads: int) -> float:
        """The cost of all samples at the flat parameters `theta`."""
        packed = self._program.pack(theta)
        chunks = self._chunks(CHUNK_DOUBLES)
        return float(np.concatenate([self._fill(chunk, packed, n_threads) for chunk in chunks]).sum())

    def values(self, theta: NDArray[np.float64], steps: Sequence[int], n_threads: int) -> NDArray[np.float64]:
        """The values of some steps, side by side, for all samples: shape (samples, their width)."""
        packed = self._program.pack(theta)
        places = [(self._program.offsets[step], self._program.steps[step].width) for step in steps]
        columns = np.concatenate([np.arange(begin, begin + width) for begin, width in places])
        out = np.empty((self.samples, len(columns)))
        for chunk in self._chunks(CHUNK_DOUBLES):
            self._fill(chunk, packed, n_threads)
            out[chunk.begin : chunk.begin + chunk.count] = chunk.tape[: chunk.count, columns]
        return out

    def direct(
        self, theta: NDArray[np.float64], plus: NDArray[np.float64], minus: NDArray[np.float64], n_threads: int,
        report: Report,
    ) -> NDArray[np.float64]:  # fmt: skip
        """Two whole forward passes per parameter, `plus` and `minus` in its place, in plain arithmetic."""
        program = self._program
        if 4.0 * self.samples * program.size * program.size < SERIAL_WORK:
            n_threads = 1
        private = np.stack([program.pack(theta)] * n_threads)
        tapes = aligned(n_threads, self._chunk_samples(DIRECT_DOUBLES), program.tape_stride)
        positions = program.positions()
        costs = np.zeros((2, program.size))
        for chunk, part in _reported(list(self._chunks(DIRECT_DOUBLES)), report):
            for begin, end in pieces(program.size, n_threads, part):
                _engine.direct(
                    self._compiled, private, positions, plus, minus, chunk, tapes, costs, begin, end, n_threads
                )
        with np.errstate(invalid="ignore"):  # infinite costs: the gradient is NaN, and reported as such
            changes: NDArray[np.float64] = costs[0] - costs[1]
        return changes

    def incremental(
        self, theta: NDArray[np.float64], h: float, n_threads: int, report: Report
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Every parameter perturbed on its own by +h and -h, in difference arithmetic.

        Returns
        -------
        changes, magnitude : ndarray, shape (size,)
            The second: the sum of the sizes of everything that was added up to the first.
        """
        program, routes = self._program, self.parameter_routes
        run = self._prepare(routes, self._compiled_parameter_routes, theta, n_threads)
        changes = aligned(2, program.packed_size)
        most = self._most_tasks(routes, BLOCKS_PER_TASK, run.n_threads)
        for chunk, part in self._filled_chunks(run, report):
            tasks = routes.tasks(1, 2 * chunk.count, BLOCKS_PER_TASK)
            for begin, end in pieces(len(tasks), run.n_threads, part, most, routes.work_after(tasks)):
                _engine.incremental(*run, tasks, chunk, h, changes, begin, end)
        return program.unpack(changes[0]), program.unpack(changes[1])

    def units(
        self, theta: NDArray[np.float64], h: float, n_threads: int, report: Report
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Every unit (output of an affine step, for each sample) perturbed by +h and -h, in difference arithmetic.

        An affine step is linear in its parameters: what the cost does per unit, times what a parameter is multiplied
        with, is what it does per parameter. Returns what `incremental` does, but one bound of the magnitude for each
        parameter array.
        """
        program, routes = self._program, self.unit_routes
        run = self._prepare(routes, self._compiled_unit_routes, theta, n_threads)
        offsets = program.unit_offsets()
        samples = self._chunk_samples(CHUNK_DOUBLES)
        sensitivities = aligned(samples * sum(padded(program.steps[step].width) for step in offsets))
        term_offsets = np.array([offsets[step] for step, _ in program.terms], np.intp)
        uses, panels = self._uses()
        changes = aligned(program.packed_size)
        magnitudes = dict.fromkeys(program.parameters, 0.0)
        most = self._most_tasks(routes, 1, run.n_threads)
        for chunk, part in self._filled_chunks(run, report):
            tasks = routes.tasks(chunk.count, 2, 1)
            for begin, end in pieces(len(tasks), run.n_threads, part, most, routes.work_after(tasks)):
                _engine.units(*run, tasks, chunk, h, sensitivities, begin, end)
            _engine.gather(run.compiled, term_offsets, uses, panels, chunk, sensitivities, changes, run.n_threads)
            for step, term in program.terms:
                begin, width = offsets[step] * samples, padded(program.steps[step].width)
                unit_panels = sensitivities[begin : begin + width * samples].reshape(-1, samples, PANEL)
                magnitudes[term.parameter] += self._magnitude(term, unit_panels, chunk)
        return program.unpack(changes), program.spread(magnitudes[p] for p in program.parameters)

    # ---- parts

    def _magnitude(self, term: Term, unit_panels: NDArray[np.float64], chunk: _engine.Chunk) -> float:
        """A bound of sum_n |a[n, i] s[n, j]| for all i and j: a is what the term multiplies, s the sensitivities."""
        sizes = np.abs(unit_panels[:, : chunk.count]).max(axis=(0, 2))
        if term.step != NOTHING:
            begin, width = self._program.offsets[term.step], self._program.steps[term.step].width
            factors = np.abs(chunk.tape[: chunk.count, begin : begin + width]).max(axis=1)
            with np.errstate(over="ignore", invalid="ignore"):
                sizes = sizes * factors
        return float(sizes.sum())

    def _uses(self) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
        """The terms, parameter by parameter, and (begin, end, panel) for every panel of every parameter."""
        uses: list[int] = []
        panels = []
        for p in self._program.parameters:
            begin = len(uses)
            uses += [number for number, (_, term) in enumerate(self._program.terms) if term.parameter == p]
            panels += [(begin, len(uses), panel) for panel in range(p.panels)]
        return np.array(uses, np.intp), np.array(panels, np.intp)

    @cached_property
    def _compiled_unit_routes(self) -> _program.CompiledProgram:
        return self.unit_routes.compile(self._isa)

    @cached_property
    def _compiled_parameter_routes(self) -> _program.CompiledProgram:
        return self.parameter_routes.compile(self._isa)

    def _prepare(
        self, routes: Routes, compiled: _program.CompiledProgram, theta: NDArray[np.float64], n_threads: int
    ) -> _Run:
        if self.work(routes) < SERIAL_WORK:
            n_threads = 1
        return _Run(
            compiled,
            self._program.pack(theta),
            aligned(n_threads, routes.scratch),
            np.empty((n_threads, routes.numbers), np.intp),
            n_threads,
        )

    def _most_tasks(self, routes: Routes, blocks: int, n_threads: int) -> float:
        """Tasks of so many blocks that surely take less than some tenths of a second."""
        return n_threads * SURE_SPEED * PIECE_SECONDS / max(blocks * routes.block_work(), 1.0)

    def _chunk_samples(self, doubles: int) -> int:
        wanted = doubles // self._program.tape_stride
        return min(self.samples, max(FEWEST_SAMPLES, min(MOST_SAMPLES, wanted)))

    def _chunks(self, doubles: int) -> Iterator[_engine.Chunk]:
        """The data in chunks whose tapes, one array for all of them, take about so many doubles."""
        size = self._chunk_samples(doubles)
        tape = aligned(size, self._program.tape_stride)
        for begin in range(0, self.samples, size):
            yield _engine.Chunk(self._inputs, self._targets, tape, begin, min(size, self.samples - begin))

    def _filled_chunks(self, run: _Run, report: Report) -> Iterator[tuple[_engine.Chunk, Report]]:
        for chunk, part in _reported(list(self._chunks(CHUNK_DOUBLES)), report):
            self._fill(chunk, run.theta, run.n_threads)
            yield chunk, part

    def _fill(self, chunk: _engine.Chunk, packed: NDArray[np.float64], n_threads: int) -> NDArray[np.float64]:
        """Fills the chunk's tape; returns the cost of every block of its samples."""
        costs = np.empty(-(-chunk.count // FORWARD_SAMPLES))
        work = chunk.count * (2.0 * self._program.size + WORK_ELEMENTWISE * self._program.tape_stride)
        n_threads = 1 if work < SERIAL_WORK else n_threads
        _engine.fill_tape(self._compiled, packed, chunk, costs, FORWARD_SAMPLES, n_threads)
        return costs


def _reported(chunks: list[_engine.Chunk], report: Report) -> Iterator[tuple[_engine.Chunk, Report]]:
    """Each chunk, with a report whose 0 to 1 is that chunk's share of the whole."""
    for k, chunk in enumerate(chunks):
        yield chunk, lambda fraction, k=k: report((k + fraction) / len(chunks))  # type: ignore[misc]
