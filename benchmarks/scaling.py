"""How the time of a complete numerical gradient grows with parameters, samples, depth, width and times.

    python benchmarks/scaling.py

Each line of networks differs in one number only; the exponent is that of the power law through its last two.
"""

from functools import partial
from math import log

from common import median_time, parse, parser, report
from problems import DenseProblem, LSTMProblem

import gradcheck_fast as gf

#: What grows: the values, and the network for each.
GROWTH = {
    "width H of 64-H-H-10, N = 64": ((64, 128, 256, 512, 1024), lambda H: DenseProblem([64, H, H, 10], 64)),
    "hidden layers of 64-(128)-10, N = 64": ((1, 2, 4, 8), lambda L: DenseProblem([64, *[128] * L, 10], 64)),
    "samples of 64-128-128-10": ((16, 64, 256, 1024, 4096), lambda N: DenseProblem([64, 128, 128, 10], N)),
    "inputs D of D-128-128-10, N = 64": ((64, 256, 1024, 4096), lambda D: DenseProblem([D, 128, 128, 10], 64)),
    "times T of an LSTM, D = 8, H = 32, N = 8": ((5, 10, 20, 40), lambda T: LSTMProblem(8, 32, T, 8)),
    "units H of an LSTM, D = 8, T = 10, N = 8": ((16, 32, 64, 128), lambda H: LSTMProblem(8, H, 10, 8)),
}


def measure(name, values, make, threads):
    rows = []
    for value in values:
        problem = make(value)
        run = partial(gf.numerical_gradient, problem.loss, problem.params, method="units", n_threads=threads)
        taken = median_time(run, 5, 3.0)
        exponent = log(taken / rows[-1]["seconds"]) / log(value / rows[-1]["value"]) if rows else 0.0
        row = {"what grows": name, "value": value, "parameters": problem.size, "seconds": taken}
        rows.append({**row, "exponent": f"{exponent:.2f}" if rows else ""})
    return rows


def draw(axes, rows):
    for name in GROWTH:
        some = [row for row in rows if row["what grows"] == name]
        axes.loglog([row["value"] for row in some], [row["seconds"] for row in some], "o-", label=name)
    axes.set_ylabel("seconds")
    axes.legend(fontsize=7)


if __name__ == "__main__":
    given = parse(parser(__doc__))
    rows = [row for name, (values, make) in GROWTH.items() for row in measure(name, values, make, given.threads)]
    report("units: how the time grows", rows, given, draw)
