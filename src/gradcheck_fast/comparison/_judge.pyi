import numpy as np
from numpy.typing import NDArray

def judge(analytic: NDArray[np.float64], numerical: NDArray[np.float64], bars: NDArray[np.float64], allowance: NDArray[np.float64], low: NDArray[np.float64], high: NDArray[np.float64], rtol: float, atol: float, middle: float, ratio: NDArray[np.float64]) -> tuple[float, int, int, int, int]: ...
