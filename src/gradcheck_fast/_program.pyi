from enum import IntEnum

import numpy as np
from numpy.typing import NDArray

class Kind(IntEnum):
    INPUT = 0
    AFFINE = 1
    ELEMENTWISE = 2
    SOFTMAX = 3
    PRODUCT = 4
    ADD = 5
    CHOOSE = 6
    COST = 7

PANEL: int
ROW_WORK: int

def instruction_sets() -> tuple[str, ...]: ...
def operations() -> dict[str, tuple[int, int]]: ...
def costs() -> dict[str, tuple[int, bool, bool]]: ...
def elementwise(
    name: str, z: NDArray[np.float64], d: NDArray[np.float64], isa: str
) -> tuple[NDArray[np.float64], NDArray[np.float64]]: ...

class CompiledProgram:
    @property
    def tape_stride(self) -> int: ...
    @property
    def n_slots(self) -> int: ...
    @property
    def capacity(self) -> int: ...
    def __init__(
        self,
        steps: NDArray[np.void],
        terms: NDArray[np.void],
        routes: NDArray[np.void],
        uses: NDArray[np.void],
        tape_stride: int,
        n_slots: int,
        capacity: int,
        isa: str,
    ) -> None: ...
