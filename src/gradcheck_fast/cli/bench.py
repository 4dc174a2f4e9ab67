"""Compares each method with the tutorials' loop in NumPy, in a few seconds; ``benchmarks/`` has longer ones."""

from __future__ import annotations

import sys
from itertools import pairwise
from statistics import median
from time import perf_counter
from typing import TYPE_CHECKING, NamedTuple, TextIO

import numpy as np

from gradcheck_fast.checks.gradcheck import gradcheck
from gradcheck_fast.checks.numerical_gradient import numerical_gradient
from gradcheck_fast.frontends.network.costs import SquaredError
from gradcheck_fast.frontends.network.layers import Dense
from gradcheck_fast.frontends.network.network import Network
from gradcheck_fast.running.config import show_config

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from numpy.typing import NDArray

#: The widths and the number of samples of each network. The loop is timed for some of the parameters only.
NETWORKS = (((2, 3, 1), 3), ((64, 64, 10), 128), ((784, 128, 10), 64))
#: The step of the loop, as tutorials have it.
EPSILON = 1e-4
#: How many seconds each row of the table takes, about.
SECONDS = 0.5
#: How many times a call is timed, at least: the median of three is not spoilt by a single disturbance.
FEWEST_CALLS = 3


class Timing(NamedTuple):
    """How long a method takes for all parameters of a network.

    Attributes
    ----------
    network : str
        The widths and the number of samples, in words.
    method : str
    seconds : float
    times_the_loop : float
        How many times faster it is than the loop.
    """

    network: str
    method: str
    seconds: float
    times_the_loop: float


def run(out: TextIO | None = None) -> list[Timing]:
    """Prints what runs here, and a table, to `out` (default: standard output); returns the rows of the table."""
    out = out or sys.stdout
    config = show_config("dicts") or {}
    print(
        f"gradcheck_fast {config['version']}, {config['instruction_set']}, {config['threads']} threads; "
        f"NumPy {config['numpy']}, Python {config['python']}\n"
        "A complete numerical gradient: sigmoid layers, squared error; seconds for all parameters.\n",
        file=out,
    )
    timings = []
    print(f"{'network':21}{'method':21}{'seconds':>12}{'times the loop':>17}", file=out)
    for widths, samples in NETWORKS:
        for timing in _compare(widths, samples):
            timings.append(timing)
            name, method, seconds, times = timing
            print(f"{name:21}{method:21}{seconds:12.3g}{times:17,.1f}", file=out)
    return timings


def _compare(widths: tuple[int, ...], samples: int) -> Iterator[Timing]:
    random = np.random.default_rng(0)
    layers = [Dense(n, m, "sigmoid") for n, m in pairwise(widths)]
    net = Network(layers, cost=SquaredError(reduction="batchmean"))
    X, y, params = random.random((samples, widths[0])), random.random((samples, widths[-1])), net.init(seed=0)
    loss = net.loss(X, y)
    gradient = numerical_gradient(loss, params)
    name = f"{'-'.join(map(str, widths))}, N = {samples}"
    loop = _time_loop(params, X, y)
    yield Timing(name, "NumPy loop", loop, 1.0)
    methods = {
        "incremental": lambda: numerical_gradient(loss, params, method="incremental"),
        "units": lambda: numerical_gradient(loss, params, method="units"),
        "chain": lambda: numerical_gradient(loss, params, method="chain"),
        "gradcheck, complete": lambda: gradcheck(loss, gradient, params),
    }
    for method, call in methods.items():
        seconds = _time(call)
        yield Timing(name, method, seconds, loop / seconds)


def _time(call: Callable[[], object]) -> float:
    """Returns the median of the seconds that a call takes; the first call is not counted."""
    call()
    times: list[float] = []
    while sum(times) < SECONDS or len(times) < FEWEST_CALLS:
        before = perf_counter()
        call()
        times.append(perf_counter() - before)
    return median(times)


def _time_loop(params: dict[str, NDArray[np.float64]], X: NDArray[np.float64], y: NDArray[np.float64]) -> float:
    """Returns the seconds that the loop takes for all parameters, from as many of them as there is time for."""
    places = [(array, index) for array in params.values() for index in np.ndindex(array.shape)]
    times: list[float] = []
    for k in np.random.default_rng(0).permutation(len(places)):
        before = perf_counter()
        array, index = places[k]
        saved = array[index]
        array[index] = saved + EPSILON
        plus = _cost(params, X, y)
        array[index] = saved - EPSILON
        minus = _cost(params, X, y)
        array[index] = saved
        (plus - minus) / (2 * EPSILON)
        times.append(perf_counter() - before)
        if sum(times) > SECONDS:
            break
    return median(times) * len(places)


def _cost(params: dict[str, NDArray[np.float64]], X: NDArray[np.float64], y: NDArray[np.float64]) -> float:
    """Computes the cost as tutorials write it: sigmoid layers, squared error, mean over the samples."""
    a = X
    for k in range(1, len(params) // 2 + 1):
        a = 1 / (1 + np.exp(-(a @ params[f"W{k}"] + params[f"b{k}"])))
    return float(np.sum((y - a) ** 2) / len(X))
