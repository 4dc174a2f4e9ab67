"""A complete numerical gradient by every method and by the peers, on identical work in one process.

    python benchmarks/peers.py [--network 784-512-512-10:64] [--network lstm:64:128:50:16] [--activation relu]
    python benchmarks/peers.py --module LeNet --module GPT

The peers: the tutorials' loop in NumPy; SciPy's approx_derivative, 3-point; torch.autograd.gradcheck, slow, and fast
(which looks along one random direction only); torch.func.vmap; a jitted jax.lax.map. Those not installed are named and
skipped. What takes longer than --seconds is timed on some parameters, and scaled to all: the table says on how many.
Then the PyTorch modules of `modules.py` are checked, in a table of their own.
"""

import sys
from functools import partial

import numpy as np
from common import median_time, parse, parser, part_time, report
from loops import EPSILON, jax_slopes, sampled
from problems import DenseProblem, LSTMProblem

import gradcheck_fast as gf

NETWORKS = ("64-64-10:128", "784-128-10:64", "784-512-512-10:64")


def numpy_loop(problem):
    flat = [(array, index) for array in problem.params.values() for index in np.ndindex(array.shape)]

    def run(indices):
        for k in indices:
            array, index = flat[k]
            saved = array[index]
            array[index] = saved + EPSILON
            plus = problem.numpy_cost(problem.params)
            array[index] = saved - EPSILON
            minus = problem.numpy_cost(problem.params)
            array[index] = saved
            _ = (plus - minus) / (2 * EPSILON)

    return run


def scipy_three_point(problem):
    from scipy.optimize._numdiff import approx_derivative

    flat = np.concatenate([array.ravel() for array in problem.params.values()])
    ends = np.cumsum([array.size for array in problem.params.values()])
    names = list(problem.params)

    def run(indices):
        def cost(values):
            theta = flat.copy()
            theta[indices] = values
            parts = np.split(theta, ends[:-1])
            arrays = {n: part.reshape(problem.params[n].shape) for n, part in zip(names, parts, strict=True)}
            return problem.numpy_cost(arrays)

        approx_derivative(cost, flat[indices], method="3-point")

    return run


def torch_flat(problem):
    import torch

    return torch, torch.from_numpy(np.concatenate([array.ravel() for array in problem.params.values()]))


def torch_gradcheck(problem):
    torch, flat = torch_flat(problem)
    cost = problem.torch_cost()

    def run(indices):
        at = torch.from_numpy(np.asarray(indices))
        some = flat[at].clone().requires_grad_()
        torch.autograd.gradcheck(lambda values: cost(flat.index_put((at,), values)), (some,), eps=1e-6, atol=1e-4)

    return run


def torch_vmap(problem, at_once=16):
    torch, flat = torch_flat(problem)
    costs = torch.func.vmap(problem.torch_cost())

    def run(indices):
        for begin in range(0, len(indices), at_once):
            some = torch.from_numpy(np.asarray(indices[begin : begin + at_once]))
            rows = torch.arange(len(some))
            plus, minus = flat.repeat(len(some), 1), flat.repeat(len(some), 1)
            plus[rows, some] += EPSILON
            minus[rows, some] -= EPSILON
            (costs(plus) - costs(minus)) / (2 * EPSILON)

    return run


def jax_map(problem):
    import jax

    jax.config.update("jax_enable_x64", True)
    flat = np.concatenate([array.ravel() for array in problem.params.values()])
    return jax_slopes(problem.jax_cost(), flat, at_once=256)


SAMPLED = {
    "NumPy loop": numpy_loop,
    "SciPy 3-point": scipy_three_point,
    "torch gradcheck, slow": torch_gradcheck,
    "torch.func.vmap": torch_vmap,
    "JAX jit(lax.map)": jax_map,
}


def torch_whole(problem, threads):
    """What PyTorch does in full: gradcheck's fast mode, and one forward and backward pass of its own layers."""
    torch, flat = torch_flat(problem)
    torch.set_num_threads(threads)
    flat.requires_grad_()
    fast = partial(torch.autograd.gradcheck, problem.torch_cost(), (flat,), eps=1e-6, atol=1e-4, fast_mode=True)
    return {"torch gradcheck, fast (one direction)": fast, "torch forward + backward": problem.torch_training_step()}


def compare(problem, seconds, threads):
    """One row for each method and peer."""
    loss, params, size = problem.loss, problem.params, problem.size
    assert abs(loss(params) - problem.numpy_cost(params)) < 1e-9 * abs(loss(params))
    rows = []

    def add(name, taken, on="all"):
        times = rows[0]["seconds"] / taken if rows else 1.0
        rows.append({problem.name: name, "seconds": taken, "times the loop": times, "parameters timed": on})

    for name, prepare in SAMPLED.items():
        if name.startswith("torch") and not hasattr(problem, "torch_cost"):
            continue
        try:
            run = prepare(problem)
        except ImportError as error:
            print(f"skipped: {name} ({error.name} is not installed)")
            continue
        taken, count = sampled(size, seconds, run)
        add(name, taken, "all" if count == size else count)
    for method in ("direct", "incremental", "units", "chain"):
        run = partial(gf.numerical_gradient, loss, params, method=method, n_threads=threads)
        taken, done = part_time(lambda watch, run=run: run(progress=watch), seconds)
        add(method, median_time(run) if taken < seconds else taken, "all" if done == 1 else f"{done:.2%} of all")
    if rows[-1]["seconds"] < seconds:
        gradient = gf.numerical_gradient(loss, params)
        add("gradcheck, complete", median_time(partial(gf.gradcheck, loss, gradient, params, n_threads=threads)))
    if hasattr(problem, "torch_cost"):
        try:
            for name, run in torch_whole(problem, threads).items():
                add(name, median_time(run))
        except ImportError:
            print("skipped: torch gradcheck, fast; torch forward + backward (torch is not installed)")
    return rows


def draw(axes, rows):
    name = next(iter(rows[0]))
    ours = ("direct", "incremental", "units", "chain", "gradcheck, complete")
    colors = ["tab:blue" if row[name] in ours else "0.7" for row in rows]
    bars = axes.barh([row[name] for row in rows], [row["seconds"] for row in rows], color=colors)
    axes.bar_label(
        bars, [f"{row['seconds']:.2g} s" if row["seconds"] < 100 else f"{row['seconds']:,.0f} s" for row in rows]
    )
    axes.set_xscale("log")
    axes.margins(x=0.12)
    axes.invert_yaxis()
    axes.set_xlabel(f"seconds for all parameters of {name}")


def make(text, activation):
    """A problem from ``widths:samples``, or ``lstm:inputs:hidden:times:samples``."""
    kind, *numbers = text.split(":")
    if kind == "lstm":
        return LSTMProblem(*map(int, numbers))
    return DenseProblem([int(width) for width in kind.split("-")], int(numbers[0]), activation)


def add_options(parser):
    parser.add_argument("--network", action="append", help=f"widths:samples; default: {', '.join(NETWORKS)}")
    parser.add_argument("--activation", default="sigmoid", choices=("sigmoid", "relu"))
    parser.add_argument("--module", action="append", help="a PyTorch module of modules.py; default: all of these")
    return parser


def compare_modules(given):
    """One table of the modules that are asked for, or of all."""
    try:
        from modules import MODULES, compare_module
    except ImportError as error:
        print(f"skipped: PyTorch modules ({error.name} is not installed)")
        return
    unknown = set(given.module or ()) - set(MODULES)
    if unknown:
        sys.exit(f"--module: expected one of {', '.join(MODULES)}, got {', '.join(sorted(unknown))}")
    given.plot = None  # it has the networks
    report("PyTorch modules", [compare_module(MODULES[name], given) for name in given.module or MODULES], given)


if __name__ == "__main__":
    given = parse(add_options(parser(__doc__)))
    for text in given.network or (() if given.module else NETWORKS):
        rows = compare(make(text, given.activation), given.seconds, given.threads)
        report("A complete numerical gradient", rows, given, draw)
        print()
    if given.module or not given.network:
        compare_modules(given)
