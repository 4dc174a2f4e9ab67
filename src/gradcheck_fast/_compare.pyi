import numpy as np
from numpy.typing import NDArray

def largest(x: NDArray[np.float64]) -> tuple[float, bool]: ...
def squares(a: NDArray[np.float64], b: NDArray[np.float64], scale: float) -> tuple[float, float]: ...
def root_mean_square(x: NDArray[np.float64]) -> float: ...
def row_and_column_sizes(
    table: NDArray[np.float64], rows: NDArray[np.float64], columns: NDArray[np.float64]
) -> None: ...
def judge(
    analytic: NDArray[np.float64],
    numerical: NDArray[np.float64],
    bars: NDArray[np.float64],
    allowance: NDArray[np.float64],
    low: NDArray[np.float64],
    high: NDArray[np.float64],
    rtol: float,
    atol: float,
    middle: float,
    ratio: NDArray[np.float64],
) -> tuple[float, int, int, int, int]: ...
