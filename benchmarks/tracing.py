"""Hand-written NumPy functions: the trace, and the trace with the complete check of a gradient, in milliseconds.

    python benchmarks/tracing.py

The loop is two calls of the function for each parameter; its time is that of one call. Every row is timed in turns with
the others, round by round.
"""

from statistics import median

from common import median_time, parse, parser, report
from hand_written import GPT, LeNet, Tutorial

import gradcheck_fast as gf

CASES = (LeNet, GPT, Tutorial)
ROUNDS = 5


def main():
    given = parse(parser(__doc__))
    import torch

    torch.set_num_threads(given.threads)
    rows = []
    for case in CASES:
        problem = case()
        run = problem.torch_pass()
        gradient = run()
        size = sum(array.size for array in problem.params.values())
        timed = {
            "call": lambda: problem.loss(problem.params),
            "PyTorch's pass": run,
            "trace": lambda: gf.trace(problem.loss, problem.params),
            "gradcheck": lambda: gf.gradcheck(problem.loss, gradient, problem.params, n_threads=given.threads),
        }
        assert timed["gradcheck"]().ok
        rounds = [{name: median_time(function, 5) for name, function in timed.items()} for _ in range(ROUNDS)]
        seconds = {name: median(times[name] for times in rounds) for name in timed}
        loop = 2 * size * seconds["call"]
        rows.append(
            {"function": case.name, "parameters": f"{size:,}"}
            | {f"{name}, ms": f"{1e3 * time:.2f}" for name, time in seconds.items()}
            | {"trace / call": f"{seconds['trace'] / seconds['call']:.1f}"}
            | {"loop, s": f"{loop:.2f}", "loop / gradcheck": f"{loop / seconds['gradcheck']:,.0f}"}
        )
    report("Traced functions", rows, given)


if __name__ == "__main__":
    main()
