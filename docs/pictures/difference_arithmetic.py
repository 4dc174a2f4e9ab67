"""Idea A: the error of a gradient against the step, by costs that are subtracted and by differences carried through."""

import numpy as np
from boxes import BLUE, ORANGE
from matplotlib import pyplot

import gradcheck_fast as gf

rng = np.random.default_rng(0)
net = gf.Network([gf.Dense(5, 6, "tanh"), gf.Dense(6, 3)], cost=gf.CrossEntropy())
loss, params = net.loss(rng.normal(size=(10, 5)), rng.integers(0, 3, 10)), net.init(0)
exact = np.concatenate([g.ravel() for g in gf.numerical_gradient(loss, params, method="chain").values()])
steps = 2.0 ** -np.arange(4, 50, 2)


def error(method, step):
    """The relative error of the gradient that a method finds with a step."""
    found = gf.numerical_gradient(loss, params, method=method, step=step)
    return gf.relative_error(np.concatenate([g.ravel() for g in found.values()]), exact)


for method, color, label in [
    ("direct", ORANGE, "two costs, subtracted (direct)"),
    ("incremental", BLUE, "the difference carried through (incremental)"),
]:
    pyplot.loglog(steps, [max(error(method, step), 1e-17) for step in steps], "o-", ms=3, color=color, label=label)
pyplot.xlabel("step h")
pyplot.ylabel("relative error of the gradient")
pyplot.legend(frameon=False)
