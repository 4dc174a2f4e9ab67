import numpy as np
from numpy.typing import NDArray

from gradcheck_fast.engine._program import CompiledProgram

class Chunk:
    @property
    def tape(self) -> NDArray[np.float64]: ...
    @property
    def begin(self) -> int: ...
    @property
    def count(self) -> int: ...
    def __init__(
        self,
        inputs: NDArray[np.float64],
        targets: NDArray[np.float64],
        tape: NDArray[np.float64],
        begin: int,
        count: int,
    ) -> None: ...

def fill_tape(
    program: CompiledProgram,
    theta: NDArray[np.float64],
    chunk: Chunk,
    costs: NDArray[np.float64],
    block: int,
    n_threads: int,
) -> None: ...
