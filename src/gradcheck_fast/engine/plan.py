"""Plans a run of a program of tensors: where each tensor lies, which step is run when, and in which regions."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cached_property, lru_cache
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from gradcheck_fast.engine._program import NOTHING
from gradcheck_fast.engine._tensors import PART, PULL, STEP, TENSOR, WAVE, Place, TensorProgram
from gradcheck_fast.engine.accepted import require_accepted
from gradcheck_fast.engine.kernel_steps import KERNELS, Kernel
from gradcheck_fast.engine.layout import padded, spread, structured
from gradcheck_fast.kernels import _kernels
from gradcheck_fast.program.steps.leaves import DATA, INPUT, PARAMETER
from gradcheck_fast.program.steps.movement import SLICE
from gradcheck_fast.program.twin import on_parameters

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from gradcheck_fast.program.program import Program, Step

#: A region of the larger side of a matrix is a multiple of this: of the tiles of products, and of panels.
REGION = 48
#: A wave of less estimated work than this is done by one thread: to wait for another one takes longer.
ALONE_WORK = 60_000.0
#: A part has at least this much estimated work.
LEAST_WORK = 30_000.0
#: A wave has no more estimated work than this: about 10 ms.
MOST_WORK = 1e9
#: A wave has at most this many parts for each thread, so that a thread that is held up does not hold up the others.
PARTS_PER_THREAD = 2


class Node(NamedTuple):
    """What is computed as one: the value or the changes of a step, or all that comes back to a tensor.

    Attributes
    ----------
    tensor : int
        The tensor that it writes.
    step, pulls : int
        The step that computes it; or the first of its pulls, and their number.
    level : int
        The wave that it belongs to.
    work : float
        The estimated operations.
    whole_rows : bool
        Whether its regions must have all columns.
    """

    tensor: int
    step: int
    pulls: int
    level: int
    work: float
    whole_rows: bool


class Schedule(NamedTuple):
    """The parts of a run, in waves, as the executor reads them."""

    parts: NDArray[np.void]
    waves: NDArray[np.void]


class Plan:
    """The tables of a program, with room for some samples.

    Parameters
    ----------
    program : Program
    samples : int
        How many samples are run at once, at most.

    Attributes
    ----------
    values, backs, changes : int
        The doubles of the tapes of values, of what comes back, and of one of the changes.
    scratch : int
        The doubles of scratch memory that a kernel may use, at least.

    Raises
    ------
    ValueError
        If the executor does not run the program; the message names the step.
    """

    def __init__(self, program: Program, samples: int) -> None:
        self.program, self.samples = program, samples
        self.values = self.backs = self.changes = 0
        self.costs = program.costs
        require_accepted(program)
        self._kernels = {
            number: KERNELS[step.name](step) for number, step in enumerate(program.steps) if step.name in KERNELS
        }
        self._schedules: dict[tuple[object, ...], Schedule] = {}
        self._readers = self._find_readers()
        self._tensors = self._lay_out()
        self.scratch = 4 * max((padded(row["columns"]) for row in self._tensors), default=0)

    def compile(self, isa: str) -> TensorProgram:
        """Returns the tables, as the executor runs them on an instruction set."""
        steps, inputs, integers, reals = [], list[int](), list[int](), list[float]()
        for number, step in enumerate(self.program.steps):
            kernel = self._kernels.get(number, Kernel("affine"))  # leaves are never run
            steps.append(
                {
                    "primitive": _kernels.PRIMITIVES[kernel.primitive][0], "operation": kernel.operation,
                    "output": number, "first_input": len(inputs), "n_inputs": len(step.inputs),
                    "first_integer": len(integers), "first_real": len(reals),
                }
            )  # fmt: skip
            inputs += step.inputs
            integers += kernel.integers
            reals += kernel.reals
        return TensorProgram(
            structured(TENSOR, self._tensors), structured(STEP, steps), np.array([*inputs, 0], np.intp),
            np.array([*integers, 0], np.intp), np.array([*reals, 0.0]), self._pulls, isa,
        )  # fmt: skip

    def forward(self, samples: int, n_threads: int) -> Schedule:
        """Returns the schedule of the values of all steps."""
        return self._scheduled("forward", lambda: self._forward_nodes, samples, n_threads)

    def changing(self, samples: int, n_threads: int) -> Schedule:
        """Returns the schedule of the changes of all steps that depend on a parameter."""
        moved = lambda: [node for node in self._forward_nodes if node.tensor in self._moved]
        return self._scheduled("changing", moved, samples, n_threads)

    def backward(self, samples: int, n_threads: int, parameters: bool = True) -> Schedule:
        """Returns the schedule of what comes back to each tensor that the parameters reach, and to the parameters."""

        def nodes() -> list[Node]:
            found, _ = self._backward_nodes
            if parameters:
                return found
            return [node for node in found if self._tensors[node.tensor]["place"] != Place.PARAMETER]

        return self._scheduled(f"backward, {parameters}", nodes, samples, n_threads)

    def read(self, tape: NDArray[np.float64], which: str, samples: int) -> dict[int, NDArray[np.float64]]:
        """Returns views of what a tape holds of all steps that have a place on it, in their shapes.

        Parameters
        ----------
        tape : ndarray of float64
        which : {"offset", "back", "change"}
            Whether the tape is of values, of what comes back, or of a change.
        samples : int
        """
        found = {}
        for number, tensor in enumerate(self._tensors):
            if tensor["place"] == Place.TAPE and tensor[which] != NOTHING:
                rows = tensor["per_sample"] * samples
                matrix = tape[tensor[which] : tensor[which] + rows * tensor["row"]].reshape(rows, tensor["row"])
                shape = self.program.steps[number].shape
                matrix = matrix[:, 0] if number in self._cost_numbers else matrix[:, : tensor["columns"]]
                found[number] = matrix.reshape(samples, *shape[1:])
        return found

    @cached_property
    def computed(self) -> list[int]:
        """The numbers of the steps that are run: all that a cost depends on, besides leaves and parts of parameters."""
        return [node.tensor for node in self._forward_nodes]

    @cached_property
    def kinked(self) -> list[int]:
        """The numbers of the steps that depend on a parameter and whose slopes jump somewhere."""
        return [
            number for number, kernel in self._kernels.items()
            if number in self._moved and (kernel.kinks and (self._readers[number] or number in self._cost_numbers))
        ]  # fmt: skip

    @cached_property
    def _cost_numbers(self) -> set[int]:
        return set(self.costs)

    # ---- where tensors lie

    def _find_readers(self) -> list[list[tuple[int, int]]]:
        """Returns the readers of each tensor that a cost depends on: the steps, each with the number of its input."""
        readers: list[list[tuple[int, int]]] = [[] for _ in self.program.steps]
        for number in self.program.needed:
            for k, source in enumerate(self.program.steps[number].inputs):
                readers[source].append((number, k))
        return readers

    @cached_property
    def moved_costs(self) -> list[int]:
        """The numbers of the costs that depend on a parameter."""
        return [number for number in self.costs if number in self._moved]

    @cached_property
    def _moved(self) -> set[int]:
        """The numbers of the parameters, and of the steps that depend on one."""
        return on_parameters(self.program)

    def _lay_out(self) -> list[dict[str, int]]:
        rows: list[dict[str, int]] = []
        begin = 0
        for number, step in enumerate(self.program.steps):
            row = {"place": Place.TAPE, "per_sample": 0, "rows": 1, "stride": 0, "back": NOTHING, "change": NOTHING}
            if step.name == PARAMETER.name:
                height, width = (1, *step.shape)[-2:]
                row |= {"place": Place.PARAMETER, "rows": height, "columns": width, "row": width, "offset": begin}
                row |= {"back": begin, "change": begin}
                begin += height * width
            elif step.name == SLICE.name:
                row |= self._part_of_parameter(number, step, rows)
            elif step.name == INPUT.name:
                matrix = step.attributes["matrix"]
                row |= {
                    "place": Place.DATA if matrix == DATA else Place.TARGETS, "per_sample": 1,
                    "columns": step.shape[1], "row": self.program.width(matrix), "offset": step.attributes["begin"],
                }  # fmt: skip
            else:
                row |= self._on_tape(number, step, rows)
            rows.append(row)
        return rows

    def _part_of_parameter(self, number: int, step: Step, rows: list[dict[str, int]]) -> dict[str, int]:
        whole = rows[step.inputs[0]]
        (top, bottom), (left, right) = ((0, 1), *step.attributes["ranges"])[-2:]
        offset = whole["offset"] + top * whole["row"] + left
        return whole | {
            "rows": bottom - top, "columns": right - left, "offset": offset, "back": offset, "change": offset,
        }  # fmt: skip

    def _on_tape(self, number: int, step: Step, rows: list[dict[str, int]]) -> dict[str, int]:
        """Takes room on the tapes for a step. A cost has one column, and room for what it caches."""
        is_cost = number in self._cost_numbers
        per_sample = 1 if is_cost else int(np.prod(step.shape[1:-1], dtype=np.intp))
        width = padded(rows[step.inputs[0]]["columns"] if is_cost else step.shape[-1])
        room = per_sample * self.samples * spread(width)
        found = {
            "per_sample": per_sample, "columns": 1 if is_cost else step.shape[-1], "row": spread(width),
            "offset": self.values, "stride": room,
        }  # fmt: skip
        self.values += room * (1 + self._kernels[number].cached)
        if number in self._moved:
            found["change"] = self.changes
            self.changes += room
            if self._readers[number]:
                found["back"] = self.backs
                self.backs += room
        return found

    # ---- what is run when

    @cached_property
    def _work(self) -> list[float]:
        """The estimated operations of each step, per sample."""
        return [work / self.program.samples for work in self.program.work]

    @cached_property
    def _forward_nodes(self) -> list[Node]:
        nodes: list[Node] = []
        levels = [0] * len(self.program.steps)
        for number, step in enumerate(self.program.steps):
            if number in self._kernels and (self._readers[number] or number in self._cost_numbers):
                levels[number] = 1 + max((levels[k] for k in step.inputs), default=0)
                whole = _kernels.PRIMITIVES[self._kernels[number].primitive][1]
                nodes.append(Node(number, number, 0, levels[number], self._work[number], whole))
        return nodes

    @property
    def _pulls(self) -> NDArray[np.void]:
        return self._backward_nodes[1]

    @cached_property
    def _backward_nodes(self) -> tuple[list[Node], NDArray[np.void]]:
        """What comes back to each tensor that depends on a parameter, from the last one to the first, and its pulls.

        Parameters come last of all: nothing waits for them.
        """
        nodes: list[Node] = []
        pulls: list[dict[str, int]] = []
        levels = dict.fromkeys(self.costs, 0)
        for number in reversed(range(len(self.program.steps))):
            readers = [(step, k) for step, k in self._readers[number] if step in levels and step in self._kernels]
            if number not in self._moved or number in self._cost_numbers or not readers:
                continue
            levels[number] = 1 + max(levels[step] for step, _ in readers)
            whole = any(_kernels.PRIMITIVES[self._kernels[step].primitive][1] for step, _ in readers)
            # an input of an affine step belongs to one of its terms
            terms = [max(1, len(self.program.steps[step].attributes.get("terms", ()))) for step, _ in readers]
            work = sum(self._work[step] / count for (step, _), count in zip(readers, terms, strict=True))
            nodes.append(Node(number, len(pulls), len(readers), levels[number], work, whole))
            pulls += [{"step": step, "input": k} for step, k in readers]
        last = max((node.level for node in nodes), default=0) + 1
        leaves = self._tensors
        nodes = [
            node._replace(level=last) if leaves[node.tensor]["place"] == Place.PARAMETER else node for node in nodes
        ]
        return nodes, structured(PULL, pulls)

    def _scheduled(self, name: str, nodes: Callable[[], Sequence[Node]], samples: int, n_threads: int) -> Schedule:
        key = name, samples, n_threads
        if key not in self._schedules:
            self._schedules[key] = self._schedule(nodes(), samples, n_threads)
        return self._schedules[key]

    def _schedule(self, nodes: Sequence[Node], samples: int, n_threads: int) -> Schedule:
        """Cuts the nodes of each wave into parts: the larger side of a matrix, in multiples of REGION."""
        parts: list[tuple[int, ...]] = []
        waves: list[tuple[int, int, bool]] = []
        by_level: dict[int, list[Node]] = {}
        for node in nodes:
            by_level.setdefault(node.level, []).append(node)
        for level in sorted(by_level):
            begin, wave = len(parts), by_level[level]
            total = samples * sum(node.work for node in wave)
            least = max(LEAST_WORK, min(total, MOST_WORK) / (PARTS_PER_THREAD * n_threads))
            alone = n_threads == 1 or total < ALONE_WORK
            for node in wave:
                tensor = self._tensors[node.tensor]
                rows, columns = tensor["per_sample"] * samples or tensor["rows"], tensor["columns"]
                head = node.tensor, node.step, node.pulls
                count = 1 if alone and total < MOST_WORK else int(max(1.0, samples * node.work / least + 0.5))
                by_rows = node.whole_rows or rows >= columns
                for first, last in _cut(rows if by_rows else columns, count):
                    parts.append((*head, first, last, 0, columns) if by_rows else (*head, 0, rows, first, last))
            # a long wave is cut into several, one after the other, so that Ctrl-C is looked for between them
            each = -(-(len(parts) - begin) // max(1, int(total / MOST_WORK)))
            waves += [(first, min(first + each, len(parts)), alone) for first in range(begin, len(parts), each)]
        return Schedule(np.array(parts, PART), np.array(waves, WAVE))


@lru_cache(maxsize=1024)
def _cut(length: int, count: int) -> list[tuple[int, int]]:
    """Cuts a side of a matrix into about as many ranges, each of which begins at a multiple of REGION."""
    each = max(REGION, -(-length // count // REGION) * REGION)
    return [(first, min(first + each, length)) for first in range(0, length, each)]
