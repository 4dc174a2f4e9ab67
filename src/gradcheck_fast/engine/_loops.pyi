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
def units(
    program: CompiledProgram,
    theta: NDArray[np.float64],
    scratch: NDArray[np.float64],
    numbers: NDArray[np.intp],
    n_threads: int,
    tasks: NDArray[np.void],
    chunk: Chunk,
    h: float,
    sensitivities: NDArray[np.float64],
    slopes: NDArray[np.float64],
    crossed: NDArray[np.intp],
    begin: int,
    end: int,
) -> None: ...
def gather(
    program: CompiledProgram,
    unit_offset: NDArray[np.intp],
    uses: NDArray[np.intp],
    first_use: NDArray[np.intp],
    tasks: NDArray[np.void],
    chunk: Chunk,
    sensitivities: NDArray[np.float64],
    gradient: NDArray[np.float64],
    accumulate: bool,
    scratch: NDArray[np.float64],
    n_threads: int,
) -> None: ...
def incremental(
    program: CompiledProgram,
    theta: NDArray[np.float64],
    scratch: NDArray[np.float64],
    numbers: NDArray[np.intp],
    n_threads: int,
    tasks: NDArray[np.void],
    chunk: Chunk,
    h: float,
    gradient: NDArray[np.float64],
    slopes: NDArray[np.float64],
    crossed: NDArray[np.intp],
    begin: int,
    end: int,
    chosen: NDArray[np.intp] | None = None,
) -> None: ...
