"""How much the process grows in a complete numerical gradient, beyond data, parameters and gradient.

    python benchmarks/memory.py

Each is measured in a process of its own. (Linux and macOS.)
"""

import resource
import subprocess
import sys

from common import parse, parser, report
from problems import DenseProblem, LSTMProblem

import gradcheck_fast as gf

CASES = {
    "784-128-10, N = 64": lambda: DenseProblem([784, 128, 10], 64),
    "784-128-10, N = 60,000": lambda: DenseProblem([784, 128, 10], 60_000),
    "784-512-512-10, N = 64": lambda: DenseProblem([784, 512, 512, 10], 64),
    "784-1024-1024-1024-10, N = 32": lambda: DenseProblem([784, 1024, 1024, 1024, 10], 32),
    "LSTM D = 8, H = 32, T = 200, N = 8": lambda: LSTMProblem(8, 32, 200, 8),
}


def peak():
    """The most memory that this process has had, in MiB."""
    unit = 2**20 if sys.platform == "darwin" else 2**10
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / unit


def growth(name, threads):
    problem = CASES[name]()
    size = 8 * problem.size / 2**20
    spare = bytearray(int(3 * size * 2**20))  # for the gradient, the packed parameters and their flat copy
    spare[::4096] = b"x" * len(spare[::4096])
    del spare
    before = peak()
    gf.numerical_gradient(problem.loss, problem.params, method="units", n_threads=threads)
    return peak() - before, problem.X.nbytes / 2**20, size


def draw(axes, rows):
    axes.barh([row["network"] for row in rows], [row["grew by, MiB"] for row in rows])
    axes.invert_yaxis()
    axes.set_xlabel("MiB beyond data, parameters and gradient")


if __name__ == "__main__":
    if len(sys.argv) == 4 and sys.argv[1] == "--one":
        print(*growth(sys.argv[2], int(sys.argv[3])))
        sys.exit()
    given = parse(parser(__doc__))
    rows = []
    for name in CASES:
        command = [sys.executable, __file__, "--one", name, str(given.threads)]
        grew, data, parameters = map(float, subprocess.run(command, check=True, capture_output=True).stdout.split())
        rows.append({"network": name, "grew by, MiB": grew, "data, MiB": data, "parameters, MiB": parameters})
    report("Memory of a complete numerical gradient", rows, given, draw)
