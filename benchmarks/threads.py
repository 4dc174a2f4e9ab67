"""The time of each method with 1, 2, ... threads.

python benchmarks/threads.py
"""

from functools import partial

from common import median_time, parse, parser, part_time, report
from problems import DenseProblem, LSTMProblem

import gradcheck_fast as gf

CASES = (
    (lambda: DenseProblem([784, 512, 512, 10], 64), "units"),
    (lambda: DenseProblem([784, 512, 512, 10], 64), "incremental"),
    (lambda: DenseProblem([784, 128, 10], 64), "direct"),
    (lambda: DenseProblem([784, 1024, 1024, 1024, 10], 32), "units"),
    (lambda: LSTMProblem(64, 128, 50, 16), "units"),
    (lambda: DenseProblem([784, 512, 512, 10], 64), "chain"),
    (lambda: LSTMProblem(64, 128, 50, 16), "chain"),
)


def counts(most):
    """1, 2, 4, ... and the most."""
    found = [1]
    while found[-1] * 2 <= most:
        found.append(found[-1] * 2)
    return found if found[-1] == most else [*found, most]


def measure(problem, method, seconds, most):
    rows = []
    for threads in counts(most):
        run = partial(gf.numerical_gradient, problem.loss, problem.params, method=method, n_threads=threads)
        taken, _ = part_time(lambda watch, run=run: run(progress=watch), seconds)
        taken = median_time(run, 7, seconds) if taken < seconds / 4 else taken
        times = rows[0]["seconds"] / taken if rows else 1.0
        rows.append({"network": problem.name, "method": method, "threads": threads, "seconds": taken})
        rows[-1]["times one thread"] = times
    return rows


def draw(axes, rows):
    for name, method in dict.fromkeys((row["network"], row["method"]) for row in rows):
        some = [row for row in rows if (row["network"], row["method"]) == (name, method)]
        label = f"{method}: {name}"
        axes.plot([row["threads"] for row in some], [row["times one thread"] for row in some], "o-", label=label)
    axes.set_xlabel("threads")
    axes.set_ylabel("times one thread")
    axes.legend(fontsize=7)


if __name__ == "__main__":
    given = parse(parser(__doc__))
    rows = [row for make, method in CASES for row in measure(make(), method, given.seconds, given.threads)]
    report("Threads", rows, given, draw)
