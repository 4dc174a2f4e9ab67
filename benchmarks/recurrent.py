"""An LSTM's complete gradcheck against the NumPy loop over its parameters, side by side in one run.

python benchmarks/recurrent.py [--threads 2]
"""

import argparse
from time import perf_counter

import numpy as np
from against_numpy_loop import cpu_name, median_time, time_loop

import gradcheck_fast as gf


def sigmoid(z):
    return 1 / (1 + np.exp(-z))


def cost(params, X, y):
    hidden = params["Wh1"].shape[0]
    h = c = np.zeros((len(X), hidden))
    for t in range(X.shape[1]):
        z = X[:, t] @ params["Wx1"] + h @ params["Wh1"] + params["b1"]
        i, f, o = (sigmoid(z[:, k * hidden : (k + 1) * hidden]) for k in (0, 1, 3))
        c = f * c + i * np.tanh(z[:, 2 * hidden : 3 * hidden])
        h = o * np.tanh(c)
    return np.sum((y - h @ params["W2"] - params["b2"]) ** 2) / len(X)


def compare(inputs, hidden, times, samples, threads, seconds):
    rng = np.random.default_rng(0)
    net = gf.Network([gf.LSTM(inputs, hidden), gf.Dense(hidden, 2)], cost=gf.SquaredError(reduction="batchmean"))
    X, y, params = rng.normal(size=(samples, times, inputs)), rng.normal(size=(samples, 2)), net.init(seed=0)
    loss = net.loss(X, y)
    started = perf_counter()
    gradient = gf.numerical_gradient(loss, params, n_threads=threads)
    first = perf_counter() - started
    assert abs(loss(params) - cost(params, X, y)) < 1e-12
    loop = time_loop(cost, params, X, y, seconds)
    size = sum(array.size for array in params.values())
    print(f"\nLSTM, D = {inputs}, H = {hidden}, T = {times}, N = {samples}: {size:,} parameters")
    rows = [("NumPy loop", loop), ("units, first time", first)]
    for method in ("units", "incremental"):
        run = lambda method=method: gf.numerical_gradient(loss, params, method=method, n_threads=threads)
        rows.append((method, median_time(run, 3)))
    rows.append(
        ("gradcheck, complete", median_time(lambda: gf.gradcheck(loss, gradient, params, n_threads=threads), 5))
    )
    for name, taken in rows:
        print(f"  {name:20} {taken * 1e3:12,.1f} ms {loop / taken:10,.1f} x")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--seconds", type=float, default=5.0, help="for the loop, which is timed in part")
    arguments = parser.parse_args()
    print(f"{cpu_name()}, {arguments.threads} threads")
    compare(16, 32, 20, 8, arguments.threads, arguments.seconds)


if __name__ == "__main__":
    main()
