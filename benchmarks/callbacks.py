"""Compiled callbacks: what an evaluation takes beyond the function itself, with 1, 2, ... threads, and in Python.

    python benchmarks/callbacks.py

"in C" is the function called in a loop in C, with nothing around it. Needs a C compiler. What takes less than some
milliseconds in all stays on one thread; and NumPy's tanh is vectorised, where the C library's is not.
"""

import ctypes
import os
import subprocess
import tempfile
from functools import partial
from pathlib import Path

import numpy as np
from common import median_time, parse, parser, part_time, report
from threads import counts

import gradcheck_fast as gf

NETWORK = Path(__file__).parents[1] / "examples" / "compiled_callback.c"
SOURCE = """
#include <gradcheck_fast.h>

double sum_of_squares(double *theta, intptr_t n, void *user_data)
{
    double total = 0.0;
    for (intptr_t k = 0; k < n; k++)
        total += theta[k] * theta[k];
    return total;
}

double repeat(gradcheck_fast_loss *loss, double *theta, intptr_t n, void *user_data, intptr_t times)
{
    double total = 0.0;
    while (times-- > 0)
        total += loss(theta, n, user_data);
    return total;
}
"""
LOSS = ctypes.CFUNCTYPE(ctypes.c_double, ctypes.POINTER(ctypes.c_double), ctypes.c_ssize_t, ctypes.c_void_p)


class Data(ctypes.Structure):
    """``struct data`` of the network."""

    _fields_ = (("samples", ctypes.c_ssize_t), ("X", ctypes.c_void_p), ("y", ctypes.c_void_p))


def build():
    with tempfile.TemporaryDirectory() as folder:
        source, library = Path(folder, "callbacks.c"), Path(folder, "callbacks.so")
        source.write_text(SOURCE)
        command = [os.environ.get("CC", "cc"), "-O3", "-shared", "-fPIC", f"-I{gf.get_include()}"]
        subprocess.run([*command, source, NETWORK, "-o", library, "-lm"], check=True)
        return ctypes.CDLL(str(library))


def cases(library):
    """Name, function in C, its data, the same in Python, parameters."""
    random = np.random.default_rng(0)
    X, y = random.normal(size=(500, 4)), random.normal(size=500)

    def network(samples, theta):
        W1, b1, W2, b2 = theta[:64].reshape(4, 16), theta[64:80], theta[80:96], theta[96]
        error = np.tanh(X[:samples] @ W1 + b1) @ W2 + b2 - y[:samples]
        return 0.5 * (error @ error) / samples

    loss = LOSS(("loss", library))
    for samples in (10, 500):
        data = Data(samples, X.ctypes.data, y.ctypes.data)
        yield f"4-16-1 network, N = {samples}", loss, data, partial(network, samples), 0.5 * random.normal(size=97)
    loss = LOSS(("sum_of_squares", library))
    for n in (1_000, 10_000, 30_000):
        yield f"sum of {n:,} squares", loss, None, lambda theta: float(theta @ theta), random.normal(size=n)


def in_c(library, loss, data, theta):
    """Seconds of an evaluation, of which nothing is done with the result."""
    times = 2 * len(theta)
    library.repeat.restype = ctypes.c_double
    library.repeat.argtypes = [LOSS, ctypes.c_void_p, ctypes.c_ssize_t, ctypes.c_void_p, ctypes.c_ssize_t]
    address = None if data is None else ctypes.addressof(data)
    return median_time(lambda: library.repeat(loss, theta.ctypes.data, len(theta), address, times)) / times


def measure(library, name, loss, data, python, theta, seconds, most):
    evaluations = 2 * len(theta) + 1
    bare = in_c(library, loss, data, theta)
    rows = [row(name, "in C", 1, bare, bare, bare)]
    alone = None
    for threads in counts(most):
        compiled = gf.callback(loss, user_data=data, threadsafe=True)
        run = partial(gf.numerical_gradient, compiled, theta, n_threads=threads)
        taken = median_time(run, 15, seconds) / evaluations
        alone = alone or taken
        rows.append(row(name, "callback", threads, taken, bare, alone))
    run = lambda watch: gf.numerical_gradient(python, theta, progress=watch)
    taken = part_time(run, seconds)[0] / evaluations
    return [*rows, row(name, "Python", 1, taken, bare, taken)]


def row(name, how, threads, taken, bare, alone):
    return {
        "function": name,
        "how": how,
        "threads": threads,
        "evaluations / s": 1 / taken,
        "us each": 1e6 * taken,
        "us beyond C": 1e6 * (taken * threads - bare),
        "times one thread": alone / taken,
    }


def draw(axes, rows):
    labels = [f"{row['function']}: {row['how']}, {row['threads']}" for row in rows]
    axes.barh(labels, [row["evaluations / s"] for row in rows])
    axes.invert_yaxis()
    axes.set_xscale("log")
    axes.set_xlabel("evaluations per second")


if __name__ == "__main__":
    given = parse(parser(__doc__))
    library = build()
    rows = [row for case in cases(library) for row in measure(library, *case, given.seconds, given.threads)]
    report("Compiled callbacks", rows, given, draw)
