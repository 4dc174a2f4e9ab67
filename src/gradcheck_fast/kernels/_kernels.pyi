from typing import NamedTuple
import numpy as np
from numpy.typing import NDArray

class Elementwise(NamedTuple):
    number: int
    cached: int
    kinks: tuple[float, ...]

class Cost(NamedTuple):
    number: int
    separable: bool
    cached: int
    kink: bool

PANEL: int
has_openmp: bool
ELEMENTWISE: dict[str, Elementwise]
PAIRWISE: dict[str, int]
COSTS: dict[str, Cost]
def instruction_sets() -> tuple[str, ...]: ...
def elementary(name: str, x: NDArray[np.float64], isa: str) -> NDArray[np.float64]: ...
def elementwise(name: str, z: NDArray[np.float64], d: NDArray[np.float64], isa: str) -> tuple[NDArray[np.float64], NDArray[np.float64]]: ...
def pairwise(name: str, f: NDArray[np.float64], g: NDArray[np.float64], isa: str, df: NDArray[np.float64] | None = None, dg: NDArray[np.float64] | None = None) -> tuple[NDArray[np.float64], NDArray[np.float64]]: ...
def cost(name: str, x: NDArray[np.float64], targets: NDArray[np.float64], constant: float, d: NDArray[np.float64], isa: str) -> tuple[NDArray[np.float64], NDArray[np.float64]]: ...
def matmul(a: NDArray[np.float64], b: NDArray[np.float64], c: NDArray[np.float64], isa: str) -> None: ...
def matmul_narrow(a: NDArray[np.float64], b: NDArray[np.float64], c: NDArray[np.float64], isa: str) -> None: ...
def multiply_add(n: int, isa: str, n_threads: int) -> float: ...
