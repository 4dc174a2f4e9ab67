"""The tutorials' NumPy loop against the three methods, side by side in one run.

    python benchmarks/against_numpy_loop.py [--threads 2] [--seconds 5]

The loop and `direct` and `incremental` take minutes to hours on a large network, so each is timed on what it does in a
few seconds, and scaled to all parameters. `units`, and the complete `gradcheck` that uses it, are timed in full.
"""

import argparse
import os
import platform
import statistics
from itertools import pairwise
from time import perf_counter

import numpy as np

import gradcheck_fast as gf


class Enough(Exception):
    """Enough has been timed."""


def sigmoid(z):
    return 1 / (1 + np.exp(-z))


def cost(params, X, y):
    a = X
    for k in range(1, len(params) // 2 + 1):
        a = sigmoid(a @ params[f"W{k}"] + params[f"b{k}"])
    return np.sum((y - a) ** 2) / len(X)


def time_loop(cost, params, X, y, seconds, epsilon=1e-4):
    """Seconds for all parameters, from the parameters that the loop does in `seconds`."""
    flat = [(array, index) for array in params.values() for index in np.ndindex(array.shape)]
    sample = np.random.default_rng(0).permutation(len(flat))
    times, started = [], perf_counter()
    for k in sample:
        array, index = flat[k]
        before, saved = perf_counter(), array[index]
        array[index] = saved + epsilon
        plus = cost(params, X, y)
        array[index] = saved - epsilon
        minus = cost(params, X, y)
        array[index] = saved
        _ = (plus - minus) / (2 * epsilon)
        times.append(perf_counter() - before)
        if perf_counter() - started > seconds:
            break
    return statistics.median(times) * len(flat)


def time_part(loss, params, method, seconds, threads):
    """Seconds for a whole numerical gradient, from as much of it as `seconds` allow."""
    seen = []

    def watch(fraction):
        seen.append((perf_counter() - started, fraction))
        if seen[-1][0] > seconds:
            raise Enough

    started = perf_counter()
    try:
        gf.numerical_gradient(loss, params, method=method, n_threads=threads, progress=watch)
        return perf_counter() - started
    except Enough:
        elapsed, fraction = seen[-1]
        return elapsed / fraction


def median_time(function, repeats=7):
    function()
    times = []
    for _ in range(repeats):
        before = perf_counter()
        function()
        times.append(perf_counter() - before)
    return statistics.median(times)


def compare(widths, samples, seconds, threads):
    rng = np.random.default_rng(0)
    net = gf.Network(
        [gf.Dense(n, m, "sigmoid") for n, m in pairwise(widths)],
        cost=gf.SquaredError(reduction="batchmean"),
    )
    X, y, params = rng.random((samples, widths[0])), rng.random((samples, widths[-1])), net.init(seed=0)
    loss = net.loss(X, y)
    gradient = gf.numerical_gradient(loss, params)
    loop = time_loop(cost, params, X, y, seconds)
    size = sum(array.size for array in params.values())
    rows = [
        ("NumPy loop", loop),
        ("direct", time_part(loss, params, "direct", seconds, threads)),
        ("incremental", time_part(loss, params, "incremental", seconds, threads)),
        ("units", median_time(lambda: gf.numerical_gradient(loss, params, method="units", n_threads=threads))),
        ("gradcheck, complete", median_time(lambda: gf.gradcheck(loss, gradient, params, n_threads=threads))),
    ]
    print(f"\n{'-'.join(map(str, widths))} sigmoid, squared error, N = {samples}, {size:,} parameters")
    for name, taken in rows:
        print(f"  {name:20} {taken * 1e3:16,.1f} ms {loop / taken:12,.1f} x")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--seconds", type=float, default=5.0, help="for each method that is timed in part")
    arguments = parser.parse_args()
    print(f"{cpu_name()}, {os.cpu_count()} CPUs, {arguments.threads} threads; NumPy {np.__version__}")
    compare([784, 512, 512, 10], 64, arguments.seconds, arguments.threads)
    compare([64, 64, 10], 128, arguments.seconds, arguments.threads)


def cpu_name():
    try:
        with open("/proc/cpuinfo") as file:
            return next(line.split(":")[1].strip() for line in file if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()


if __name__ == "__main__":
    main()
