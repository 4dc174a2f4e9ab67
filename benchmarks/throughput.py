"""Achieved GFLOP/s against what the processor can do: a loop of nothing but multiply-adds in registers.

    python benchmarks/throughput.py

Kernels run on one thread; whole gradients on all. For a gradient only the necessary operations are counted: two for
each multiply-add of the dense rows of differences, from the perturbed layer on, with every matrix that they meet
(N units rows for each layer: one row carries +h and -h). Activations, costs, the forward pass and the final product
are work, but not counted.
"""

from functools import partial
from itertools import pairwise
from time import perf_counter

import numpy as np
from common import median_time, parse, parser, part_time, report
from problems import DenseProblem, LSTMProblem

import gradcheck_fast as gf
from gradcheck_fast.engine.layout import aligned, spread
from gradcheck_fast.kernels import _kernels

PANEL = _kernels.PANEL
#: rows x inner x columns
WIDE = ((1024, 1024, 1024), (128, 4096, 4096), (120, 512, 64), (120, 128, 512))
NARROW = ((120, 512, 10), (120, 128, 10))
GRADIENTS = (
    lambda: DenseProblem([784, 512, 512, 10], 64),
    lambda: DenseProblem([784, 1024, 1024, 1024, 10], 32),
    lambda: LSTMProblem(64, 128, 50, 16),
)


def peak(isa, threads):
    """Operations per second of multiply-adds that wait for nothing."""
    best, n = 0.0, 3_000_000
    for _ in range(7):
        before = perf_counter()
        operations = _kernels.multiply_add(n, isa, threads)
        best = max(best, operations / (perf_counter() - before))
    return best


def matrix(rows, columns):
    """As the engine lays out differences: rows spread over the cache."""
    found = aligned(rows, spread(columns))[:, :columns]
    found[...] = np.random.default_rng(0).random((rows, columns))
    return found


def repeated(run, operations):
    """Operations per second of a short call."""
    times = max(1, int(2e9 / operations))

    def several():
        for _ in range(times):
            run()

    return times * operations / median_time(several, 7, 3.0)


def kernel_rows(isa):
    for rows, inner, columns in WIDE:
        a, b, c = matrix(rows, inner), aligned(columns // PANEL, inner + 1, PANEL)[:, :inner], matrix(rows, columns)
        b[...] = 1.0
        yield (
            f"matmul {rows} x {inner} x {columns}",
            2.0 * rows * inner * columns,
            partial(_kernels.matmul, a, b, c, isa),
        )
        x, y = np.ones((rows, inner)), np.ones((inner, columns))
        yield f"NumPy  {rows} x {inner} x {columns}", 2.0 * rows * inner * columns, partial(np.matmul, x, y)
    for rows, inner, columns in NARROW:
        a, b, c = matrix(rows, inner), matrix(columns, inner), aligned(rows, PANEL)
        run = partial(_kernels.matmul_narrow, a, b, c, isa)
        yield f"matmul {rows} x {inner} x {columns}", 2.0 * rows * inner * columns, run


def necessary(problem):
    """Operations of the dense products; see above."""
    if isinstance(problem, LSTMProblem):
        times, H = problem.X.shape[1], problem.hidden
        return sum(problem.samples * 4 * H * t * 2.0 * H * 4 * H for t in range(times))
    widths = problem.widths[1:]
    products = [2.0 * n * m for n, m in pairwise(widths)]
    return sum(problem.samples * width * sum(products[k + 1 :]) for k, width in enumerate(widths))


def gradient_time(problem, seconds, threads):
    run = partial(gf.numerical_gradient, problem.loss, problem.params, method="units", n_threads=threads)
    taken, _ = part_time(lambda watch: run(progress=watch), seconds)
    return median_time(run, 7, seconds) if taken < seconds / 2 else taken


def draw(axes, rows):
    axes.barh([row["what"] for row in rows], [float(row["of the peak"].rstrip("%")) for row in rows])
    axes.invert_yaxis()
    axes.set_xlabel("% of the peak of multiply-adds in registers")


if __name__ == "__main__":
    given = parse(parser(__doc__))
    isa = gf.show_config("dicts")["instruction_set"]
    one, all_threads = peak(isa, 1), peak(isa, given.threads)

    def row(what, speed, most, threads):
        return {"what": what, "threads": threads, "GFLOP/s": speed / 1e9, "of the peak": f"{speed / most:.0%}"}

    rows = [row("multiply-adds in registers", one, one, 1)]
    for what, operations, run in kernel_rows(isa):
        on = given.threads if what.startswith("NumPy") else 1  # NumPy's BLAS has its own threads
        rows.append(row(what, repeated(run, operations), all_threads if on > 1 else one, on))
    rows.append(row("multiply-adds in registers", all_threads, all_threads, given.threads))
    for make in GRADIENTS:
        problem = make()
        speed = necessary(problem) / gradient_time(problem, 3 * given.seconds, given.threads)
        rows.append(row(f"units: {problem.name}", speed, all_threads, given.threads))
    report("Operations per second", rows, given, draw)
