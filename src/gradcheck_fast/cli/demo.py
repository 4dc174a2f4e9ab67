"""Demonstrates a check: of back-propagation by hand on real data, first a right one, then one with a mistake."""

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

#: How many hidden units the network has.
HIDDEN = 48
#: The largest value of a pixel in the data; the smallest is 0.
LARGEST_PIXEL = 16.0


def digits() -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Reads 360 handwritten digits of the UCI data set.

    Returns
    -------
    pixels : ndarray of float64, shape (360, 64)
        From 0 to 1.
    classes : ndarray of int64, shape (360,)
    """
    with (files("gradcheck_fast") / "data" / "digits.csv").open() as file:
        table = np.loadtxt(file, delimiter=",", dtype=np.int64)
    return table[:, :-1] / LARGEST_PIXEL, table[:, -1]


def backpropagate(
    params: dict[str, NDArray[np.float64]], X: NDArray[np.float64], y: NDArray[np.int64], *, mistake: bool = False
) -> dict[str, NDArray[np.float64]]:
    """Finds the gradient of a tanh layer and softmax cross-entropy by hand in NumPy, as a user would.

    Parameters
    ----------
    params : dict
        W1, b1, W2 and b2.
    X : ndarray of float64, shape (N, 64)
        The pixels.
    y : ndarray of int64, shape (N,)
        The classes.
    mistake : bool
        Whether to take the derivative of tanh for 1 - a instead of 1 - a².

    Returns
    -------
    dict
        The gradient, with the names and shapes of `params`.
    """
    a = np.tanh(X @ params["W1"] + params["b1"])
    z = a @ params["W2"] + params["b2"]
    p = np.exp(z - z.max(axis=1, keepdims=True))
    p /= p.sum(axis=1, keepdims=True)
    dz = (p - np.eye(10)[y]) / len(X)
    da = dz @ params["W2"].T * (1 - a if mistake else 1 - a**2)
    return {"W1": X.T @ da, "b1": da.sum(axis=0), "W2": a.T @ dz, "b2": dz.sum(axis=0)}


def run(out: TextIO | None = None) -> tuple[Report, Report]:
    """Makes both checks, prints their reports to `out` (default: standard output), and returns the reports."""
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
