"""The demonstration: hand-written back-propagation on real data, first right, then with a planted mistake."""

from __future__ import annotations

import sys
from importlib.resources import files
from typing import TYPE_CHECKING, TextIO

import numpy as np

from gradcheck_fast.checks.gradcheck import gradcheck
from gradcheck_fast.frontends.network.costs import CrossEntropy
from gradcheck_fast.frontends.network.layers import Dense
from gradcheck_fast.frontends.network.network import Network

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from gradcheck_fast.report.report import Report

HIDDEN = 48


def digits() -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """360 handwritten digits of the UCI data set: pixels between 0 and 1, shape (360, 64), and classes, (360,)."""
    with (files("gradcheck_fast") / "data" / "digits.csv").open() as file:
        table = np.loadtxt(file, delimiter=",", dtype=np.int64)
    return table[:, :-1] / 16.0, table[:, -1]


def backpropagate(
    params: dict[str, NDArray[np.float64]], X: NDArray[np.float64], y: NDArray[np.int64], *, mistake: bool = False
) -> dict[str, NDArray[np.float64]]:
    """The gradient of tanh -> softmax cross-entropy, written by hand in NumPy, as a user would.

    Parameters
    ----------
    mistake : bool
        Takes the derivative of tanh as 1 - a instead of 1 - a².
    """
    a = np.tanh(X @ params["W1"] + params["b1"])
    z = a @ params["W2"] + params["b2"]
    p = np.exp(z - z.max(axis=1, keepdims=True))
    p /= p.sum(axis=1, keepdims=True)
    dz = (p - np.eye(10)[y]) / len(X)
    da = dz @ params["W2"].T * (1 - a if mistake else 1 - a**2)
    return {"W1": X.T @ da, "b1": da.sum(axis=0), "W2": a.T @ dz, "b2": dz.sum(axis=0)}


def run(out: TextIO | None = None) -> tuple[Report, Report]:
    """Shows both checks on `out` (default: standard output); returns both reports."""
    out = out or sys.stdout
    X, y = digits()
    net = Network([Dense(64, HIDDEN, "tanh"), Dense(HIDDEN, 10)], cost=CrossEntropy())
    params = net.init(seed=0)
    loss = net.loss(X, y)
    print(
        f"{len(X)} handwritten digits (UCI), a 64-{HIDDEN}-10 network, tanh and softmax cross-entropy.\n"
        "Its back-propagation is written by hand in NumPy. Is it right?\n",
        file=out,
    )
    right = gradcheck(loss, backpropagate(params, X, y), params)
    right.print(out)
    print("\nNow with a mistake planted: the derivative of tanh taken as 1 - a instead of 1 - a**2.\n", file=out)
    wrong = gradcheck(loss, backpropagate(params, X, y, mistake=True), params)
    wrong.print(out)
    return right, wrong
