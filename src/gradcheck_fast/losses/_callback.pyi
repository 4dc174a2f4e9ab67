import numpy as np
from numpy.typing import NDArray

def cost(function: int, user_data: int, theta: NDArray[np.float64], threadsafe: bool) -> float: ...
def costs(
    function: int,
    user_data: int,
    theta: NDArray[np.float64],
    entries: NDArray[np.intp],
    values: NDArray[np.float64],
    found: NDArray[np.float64],
    n_threads: int,
    threadsafe: bool,
) -> int: ...
def is_capsule(x: object) -> bool: ...
def read_capsule(capsule: object) -> tuple[str | None, int, int]: ...
