"""A chained gradient and its certificate beside one forward and backward pass of PyTorch, in milliseconds.

    python benchmarks/chain.py

Every row is timed in turns with the others, round by round, and has its own ratio to the pass of the same round.
"""

from functools import partial
from statistics import median

import numpy as np
from common import median_time, parse, parser, report
from problems import DenseProblem, LSTMProblem

import gradcheck_fast as gf
from gradcheck_fast.engine.certificate import certify
from gradcheck_fast.engine.chain import chain
from gradcheck_fast.numerical.gradient import CHAIN_STEPS
from gradcheck_fast.running.runner import Runner

CASES = (
    lambda: DenseProblem([784, 512, 512, 10], 64),
    lambda: DenseProblem([784, 1024, 1024, 1024, 10], 32),
    lambda: LSTMProblem(64, 128, 50, 16),
    lambda: LSTMProblem(64, 128, 1000, 4),
)
ROUNDS = 5


def torch_lstm_step(problem):
    """A forward and a backward pass of the same LSTM, of PyTorch's own layers."""
    import torch
    from torch import nn

    inputs = problem.X.shape[2]
    lstm, dense = nn.LSTM(inputs, problem.hidden, batch_first=True).double(), nn.Linear(problem.hidden, 10).double()
    X, y = torch.from_numpy(problem.X), torch.from_numpy(problem.y)

    def step():
        lstm.zero_grad()
        dense.zero_grad()
        nn.functional.cross_entropy(dense(lstm(X)[0][:, -1]), y).backward()

    return step


def calls(problem, threads, point):
    """What is timed, by name; the pass of PyTorch comes first."""
    import torch

    torch.set_num_threads(threads)
    loss, params = problem.loss, problem.params
    step = torch_lstm_step(problem) if isinstance(problem, LSTMProblem) else problem.torch_training_step()
    gradient = gf.numerical_gradient(loss, params, method="chain")
    flat = np.concatenate([array.ravel() for array in gradient.values()])

    def chained():
        point._only = None  # the values of all steps are found again
        chain(point, CHAIN_STEPS[0], Runner(threads))

    return {
        "PyTorch, forward + backward": step,
        "chain": chained,
        "certificate": partial(certify, point, flat),
        "numerical_gradient, chain": partial(gf.numerical_gradient, loss, params, method="chain", n_threads=threads),
        "gradcheck, auto": partial(gf.gradcheck, loss, gradient, params, n_threads=threads),
    }


def compare(problem, threads):
    theta = problem.loss.pack(problem.params).flat
    with problem.loss._tensors.at(theta, threads) as point:
        runs = calls(problem, threads, point)
        times = [{name: median_time(run, 7, 2.0) for name, run in runs.items()} for _ in range(ROUNDS)]
    base = next(iter(runs))
    return [
        {
            problem.name: name,
            "milliseconds": 1e3 * median(round_[name] for round_ in times),
            "times the pass": median(round_[name] / round_[base] for round_ in times),
        }
        for name in runs
    ]


def draw(axes, rows):
    name = next(iter(rows[0]))
    axes.barh([row[name] for row in rows], [row["milliseconds"] for row in rows])
    axes.invert_yaxis()
    axes.set_xlabel(f"milliseconds, {name}")


if __name__ == "__main__":
    given = parse(parser(__doc__))
    for make in CASES:
        report("A chained gradient beside PyTorch's pass", compare(make(), given.threads), given, draw)
        print()
