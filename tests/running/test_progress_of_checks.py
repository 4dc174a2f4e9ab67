"""Every check tells how far it is, and can be interrupted: what is the user's is then as it was."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
import time

import numpy as np
import pytest

import gradcheck_fast as gf

W = np.random.default_rng(0).normal(size=6)
PAIR = {"a": W[:3], "b": W[3:]}


def loss(w):
    return float(np.sum(np.sin(np.asarray(w))))


def of_pair(p):
    return loss(p["a"]) + loss(p["b"])


def outputs(a, b):
    return {"s": np.sin(a) * b, "t": np.cos(b)}


def vjp(cotangent, a, b):
    return cotangent["s"] * np.cos(a) * b, cotangent["s"] * np.sin(a) - cotangent["t"] * np.sin(b)


def jvp(tangents, a, b):
    u, v = tangents
    return {"s": np.cos(a) * b * u + np.sin(a) * v, "t": -np.sin(b) * v}


def hessian(w):
    return np.diag(-np.sin(w))


CHECKS = {
    "gradcheck": lambda tell: gf.gradcheck(loss, np.cos(W), W, trace=False, progress=tell),
    "traced": lambda tell: gf.gradcheck(lambda w: np.sum(np.sin(w)), np.cos(W), W, progress=tell),
    "directional": lambda tell: gf.gradcheck(
        of_pair, {"a": np.cos(W[:3]), "b": np.cos(W[3:])}, PAIR, method="directional", progress=tell
    ),
    "check_vjp": lambda tell: gf.check_vjp(outputs, vjp, (W[:3], W[3:]), progress=tell),
    "check_vjp, plain": lambda tell: gf.check_vjp(outputs, vjp, (W[:3], W[3:]), trace=False, progress=tell),
    "check_jvp": lambda tell: gf.check_jvp(outputs, jvp, (W[:3], W[3:]), progress=tell),
    "check_jacobian": lambda tell: gf.check_jacobian(np.sin, np.diag(np.cos(W)), W, progress=tell),
    "check_jacobian, plain": lambda tell: gf.check_jacobian(np.sin, np.diag(np.cos(W)), W, trace=False, progress=tell),
    "check_hessian": lambda tell: gf.check_hessian(lambda w: np.sum(np.sin(w)), hessian, W, progress=tell),
    "check_hessian, plain": lambda tell: gf.check_hessian(loss, hessian, W, trace=False, progress=tell),
    "check_hvp": lambda tell: gf.check_hvp(lambda w: np.sum(np.sin(w)), lambda w, v: -np.sin(w) * v, W, progress=tell),
    "check_objective": lambda tell: gf.check_objective(
        lambda y, p: (p - y, np.ones_like(p)), lambda y, p: 0.5 * (p - y) ** 2, W, np.zeros(6), progress=tell
    ),
    "taylor_test": lambda tell: gf.taylor_test(
        of_pair, {"a": np.cos(W[:3]), "b": np.cos(W[3:])}, PAIR, progress=tell
    ),
}  # fmt: skip


@pytest.mark.parametrize("check", CHECKS.values(), ids=CHECKS)
def test_the_fractions_rise_to_one_and_end_there(check):
    heard = []
    assert check(heard.append).ok
    assert heard == sorted(heard)
    assert heard[-1] == 1.0
    assert all(0.0 < fraction <= 1.0 for fraction in heard)


@pytest.mark.parametrize("check", CHECKS.values(), ids=CHECKS)
def test_it_may_be_stopped_from_there(check):
    def stop(fraction):
        raise KeyboardInterrupt

    before = W.copy()
    with pytest.raises(KeyboardInterrupt):
        check(stop)
    np.testing.assert_array_equal(W, before)


# ---- Ctrl-C, in another process

PRELUDE = """
import sys, threading, time
import numpy as np
import gradcheck_fast as gf

W = np.random.default_rng(0).normal(size=4000)
BEFORE = W.copy()

class Model:
    calls = 0
    def loss(self, w):
        time.sleep(0.002)
        return float(np.sum(np.sin(w)))

model = Model()
ready = lambda *_: print("ready", flush=True)
threading.Timer(0.7, ready).start()
threads = threading.active_count()
try:
    {call}
except KeyboardInterrupt:
    assert sys.stderr is sys.__stderr__ and sys.stdout is sys.__stdout__
    assert np.array_equal(W, BEFORE)
    print("interrupted", flush=True)
"""
NET = "gf.Network([gf.Dense(300, 300, 'tanh'), gf.Dense(300, 40)], cost=gf.SquaredError())"
DATA = f"net = {NET}; P = net.init(0); L = net.loss(np.ones((400, 300)), np.ones((400, 40))); "
DEEP = DATA.replace("[gf", "[*[gf.Dense(300, 300, 'tanh')] * 6, gf").replace("400,", "1000,")
CALLS = {
    "direct": "gf.gradcheck(model.loss, np.cos(W), W, trace=False, progress=True)",
    "directional": "gf.gradcheck(lambda w: model.loss(w) if not time.sleep(1) else 0, np.cos(W), W, trace=False, "
    "method='directional', progress=True)",
    "complex": "gf.numerical_gradient(lambda w: (time.sleep(0.002), np.sum(np.sin(w)))[1], W, method='complex', "
    "trace=False, progress=True)",
    "check_vjp": "gf.check_vjp(lambda w: np.array([model.loss(w)]), lambda g, w: g * np.cos(w), W, trace=False, "
    "progress=True)",
    "check_jacobian": "gf.check_jacobian(lambda w: np.array([model.loss(w)]), np.cos(W)[None], W, trace=False, "
    "progress=True)",
    "check_hessian": "gf.check_hessian(model.loss, np.zeros((4000, 4000)), W, trace=False, progress=True)",
    "taylor_test": "gf.taylor_test(lambda w: model.loss(w) if not time.sleep(1) else 0, np.cos(W), W, progress=True)",
    "units": DEEP + "gf.numerical_gradient(L, P, method='units', progress=True, n_threads=1)",
    "incremental": DATA + "gf.numerical_gradient(L, P, method='incremental', progress=True, n_threads=1)",
    "network, direct": DATA + "gf.numerical_gradient(L, P, method='direct', progress=True, n_threads=1)",
    "incremental, traced": "gf.gradcheck(lambda p: np.sum(np.tanh(p.reshape(40, 100) @ np.ones((100, 20000)))**2), "
    "np.ones(4000), W, method='incremental', progress=True)",
}  # fmt: skip


@pytest.mark.long
@pytest.mark.skipif(os.name == "nt", reason="Windows has no SIGINT for one process")
@pytest.mark.parametrize("call", CALLS.values(), ids=CALLS)
def test_ctrl_c_ends_it_soon_and_changes_nothing(call):
    code = textwrap.dedent(PRELUDE).format(call=call)
    with subprocess.Popen(
        [sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as run:
        assert run.stdout.readline() == "ready\n"
        time.sleep(0.3)
        run.send_signal(signal.SIGINT)
        began = time.perf_counter()
        said, errors = run.communicate(timeout=30)
        took = time.perf_counter() - began
    assert said == "interrupted\n", errors
    assert took < 2.0  # a second, and the end of the process
