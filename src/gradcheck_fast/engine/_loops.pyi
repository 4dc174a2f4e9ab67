import numpy as np
from numpy.typing import NDArray

from gradcheck_fast.engine._program import CompiledProgram
from gradcheck_fast.engine._tape import Chunk

NUMBERS_PER_PAIR: int
VALUES_PER_PAIR: int

def direct(
    program: CompiledProgram,
    theta: NDArray[np.float64],
    position: NDArray[np.intp],
    plus: NDArray[np.float64],
    minus: NDArray[np.float64],
    chunk: Chunk,
    tapes: NDArray[np.float64],
    costs: NDArray[np.float64],
    begin: int,
    end: int,
    n_threads: int,
) -> None: ...

class Workspace:
    @property
    def chunk(self) -> Chunk: ...
    @property
    def found(self) -> NDArray[np.float64]: ...
    @property
    def slopes(self) -> NDArray[np.float64]: ...
    @property
    def crossed(self) -> NDArray[np.intp]: ...
    def __init__(
        self,
        program: CompiledProgram,
        theta: NDArray[np.float64],
        chunk: Chunk,
        tasks: NDArray[np.void],
        h: float,
        scratch: NDArray[np.float64],
        numbers: NDArray[np.intp],
        found: NDArray[np.float64],
        slopes: NDArray[np.float64],
        crossed: NDArray[np.intp],
    ) -> None: ...

class Uses:
    def __init__(
        self,
        unit_offset: NDArray[np.intp],
        uses: NDArray[np.intp],
        first_use: NDArray[np.intp],
        tasks: NDArray[np.void],
    ) -> None: ...

def units(work: Workspace, n_threads: int, begin: int, end: int) -> None: ...
def gather(
    work: Workspace,
    uses: Uses,
    gradient: NDArray[np.float64],
    accumulate: bool,
    scratch: NDArray[np.float64],
    n_threads: int,
) -> None: ...
def incremental(
    work: Workspace, n_threads: int, begin: int, end: int, chosen: NDArray[np.intp] | None = None
) -> None: ...
