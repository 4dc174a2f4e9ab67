"""Hand-written NumPy functions: the trace, and the trace with the complete check of a gradient, in milliseconds.

    python benchmarks/tracing.py

The loop is two calls of the function for each parameter; its time is that of one call. All are timed in turns, round by
round.
"""

from functools import partial
from statistics import median

from common import median_time, parse, parser, report
from hand_written import GPT, LeNet, Tutorial

import gradcheck_fast as gf

CASES = (LeNet, GPT, Tutorial)
ROUNDS = 5
#: Perturbing every parameter by itself is timed for functions of no more parameters than this.
MOST_PERTURBED = 50_000


def calls(problem, threads):
    """What is timed, by name."""
    run = problem.torch_pass()
    gradient, loss, params = run(), problem.loss, problem.params
    assert gf.gradcheck(loss, gradient, params, n_threads=threads).ok
    return {
        "call": partial(loss, params),
        "PyTorch's pass": run,
        "trace": partial(gf.trace, loss, params),
        "gradcheck": partial(gf.gradcheck, loss, gradient, params, n_threads=threads),
    }


def row(problem, threads):
    """The medians of some rounds, and their ratios."""
    timed, size = calls(problem, threads), sum(array.size for array in problem.params.values())
    rounds = [{name: median_time(function, 5) for name, function in timed.items()} for _ in range(ROUNDS)]
    seconds = {name: median(times[name] for times in rounds) for name in timed}
    loop, perturbed = 2 * size * seconds["call"], float("nan")
    if size <= MOST_PERTURBED:
        numerical = partial(gf.numerical_gradient, problem.loss, problem.params, n_threads=threads)
        perturbed = median_time(partial(numerical, method="incremental"), 3)
    return (
        {"function": problem.name, "parameters": f"{size:,}"}
        | {f"{name}, ms": f"{1e3 * time:.2f}" for name, time in seconds.items()}
        | {"incremental, ms": f"{1e3 * perturbed:.1f}", "loop, s": f"{loop:.3g}"}
        | {"loop / gradcheck": f"{loop / seconds['gradcheck']:,.1f}", "loop / incremental": f"{loop / perturbed:,.1f}"}
    )


def main():
    given = parse(parser(__doc__))
    import torch

    torch.set_num_threads(given.threads)
    report("Traced functions", [row(case(), given.threads) for case in CASES], given)


if __name__ == "__main__":
    main()
