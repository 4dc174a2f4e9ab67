from enum import IntEnum
import numpy as np
from numpy.typing import NDArray

class Kind(IntEnum):
    INPUT = 0
    AFFINE = 1
    ELEMENTWISE = 2
    SOFTMAX = 3
    PAIRWISE = 4
    WHERE = 5
    COST = 6
NOTHING: int
UNIT: int
PAIR_WORK: int
class CompiledProgram:
    @property
    def tape_stride(self) -> int: ...
    @property
    def n_slots(self) -> int: ...
    @property
    def capacity(self) -> int: ...
    @property
    def pairs(self) -> int: ...
    def __init__(self, steps: NDArray[np.void], terms: NDArray[np.void], blocks: NDArray[np.void], routes: NDArray[np.void], uses: NDArray[np.void], tape_stride: int, n_slots: int, capacity: int, pairs: int, isa: str) -> None: ...

STEP: np.dtype[np.void]
TERM: np.dtype[np.void]
BLOCK: np.dtype[np.void]
ROUTE: np.dtype[np.void]
USE: np.dtype[np.void]
TASK: np.dtype[np.void]
