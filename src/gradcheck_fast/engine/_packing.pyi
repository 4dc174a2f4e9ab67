import numpy as np
from numpy.typing import NDArray
from gradcheck_fast.engine._program import CompiledProgram

def pack(program: CompiledProgram, tasks: NDArray[np.void], flat: NDArray[np.float64], packed: NDArray[np.float64], n_threads: int) -> None: ...
