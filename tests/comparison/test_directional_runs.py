"""method="directional" by other workers, and again after an interruption: the report is the same to the last bit."""

from __future__ import annotations

import os
import pickle
import signal
import subprocess
import sys
import warnings
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from itertools import pairwise

import numpy as np
import pytest
from functions import Counted
from networks import make
from processes import KEEPS_ALL
from work import Inline, Stopped, pool, stop_after

import gradcheck_fast as gf
from gradcheck_fast.comparison import directional
from gradcheck_fast.running import executors, progress, replay

PARAMS = {"W": np.linspace(1.0, 2.0, 600).reshape(40, 15), "b": np.linspace(0.0, 1.0, 15), "c": 1.5}


def function(params):
    """W is rounded to float32: noise, which is not seen in the value, and in no other array."""
    coarse = params["W"].astype(np.float32).astype(float)
    return float(np.sum(np.sin(coarse)) + np.sum(np.sin(params["b"]))) * params["c"]


def gradient_of(params):
    W, b, c = params.values()
    return {"W": c * np.cos(W), "b": c * np.cos(b), "c": np.sum(np.sin(W)) + np.sum(np.sin(b))}


WRONG = gradient_of(PARAMS)
WRONG["W"][3, 4] *= 1.5
WRONG["b"][7] = 0.0


def check(loss=function, gradient=WRONG, params=PARAMS, **options):
    return gf.gradcheck(loss, gradient, params, method="directional", trace=False, **options)


def content(report):
    """All that is in a report but the time it took."""
    numbers = [tree[name].tobytes() for tree in (report.numerical, report.error_bars) for name in ("W", "b")]
    return {**report.to_dict(worst=1000), "seconds": None, "numbers": numbers}


EXPECTED = content(check())


@pytest.fixture
def one_by_one(monkeypatch):
    """Every stretch is one evaluation."""
    monkeypatch.setattr(directional, "_STRETCH_SECONDS", 0.0)
    monkeypatch.setattr(directional, "_SECONDS_PER_PARAMETER", 0.0)


def test_what_is_expected_is_what_is_there():
    assert [array["wrong"] for array in EXPECTED["arrays"]] == [1, 1, 0]
    assert 100 < EXPECTED["evaluations"] < 200


# ---- executors


def test_the_report_does_not_depend_on_the_executor(processes):
    with ThreadPoolExecutor(3) as threads:
        for executor in (Inline(), threads, processes):
            assert content(check(executor=executor)) == EXPECTED


def test_the_report_does_not_depend_on_the_stretches(one_by_one):
    assert content(check()) == EXPECTED
    assert content(check(executor=Inline())) == EXPECTED


def test_a_network_is_checked_by_workers_with_one_thread_each(processes, monkeypatch):
    case = make(np.random.default_rng(0), [12, 10, 3], ["relu", "identity"], "class_logits", samples=20)
    wrong = {**case.gradient, "W1": -case.gradient["W1"]}
    expected = check(case.loss, wrong, case.params).to_dict()
    report = check(case.loss, wrong, case.params, executor=processes).to_dict()
    assert {**report, "seconds": None} == {**expected, "seconds": None}
    engine, seen = type(case.loss._engine), []
    cost = engine.cost
    monkeypatch.setattr(engine, "cost", lambda self, theta, n: seen.append(n) or cost(self, theta, n))
    check(case.loss, wrong, case.params, executor=Inline())
    assert set(seen) == {1}


def test_an_array_that_a_worker_died_of_is_done_again():
    made = []

    def make_executor():
        made.append(Inline(deaths=2 if not made else 0))
        return made[-1]

    assert content(check(executor=make_executor)) == EXPECTED
    assert len(made) == 2


def dies_once(marker, here, params):
    """The first worker to move b."""
    if os.getpid() != here and (params["b"] != PARAMS["b"]).any() and not marker.exists():
        marker.touch()
        os.kill(os.getpid(), signal.SIGKILL)
    return function(params)


def test_a_worker_is_killed(tmp_path):
    with pool() as executor:
        loss = partial(dies_once, tmp_path / "killed", os.getpid())
        assert content(check(loss, executor=executor)) == EXPECTED
    assert (tmp_path / "killed").exists()


def test_parameters_and_gradient_are_sent_once(monkeypatch):
    monkeypatch.setattr(executors, "LIGHT", 1000)
    executors._place.cache_clear()
    inline, right = Inline(), gradient_of(PARAMS)
    check(gradient=right, executor=inline)
    heavy = [packed for _, packed, _, _ in inline.sent if packed is not None]
    assert 0 < len(heavy) <= executors.FIRST_SHARES
    vector = 8 * (600 + 15 + 1)
    assert max(map(len, heavy)) < 2 * vector + 2000


def raises(params):
    if (params["b"] != PARAMS["b"]).any():
        raise ArithmeticError("no other b")
    return function(params)


@pytest.mark.skipif(sys.version_info < (3, 11), reason="exceptions have no notes")
def test_an_exception_of_the_loss_says_which_array_was_moved(processes):
    said = "gradcheck_fast: raised by the loss while b was moved along a random direction"
    for executor in (None, Inline(), processes):
        with pytest.raises(ArithmeticError) as raised:
            check(raises, executor=executor)
        assert raised.value.__notes__ == [said]


# ---- checkpoints


@pytest.fixture
def path(tmp_path):
    return tmp_path / "run.npz"


@pytest.mark.parametrize("executor", [None, "inline"])
def test_an_interrupted_check_goes_on_where_it_was(executor, path, eager, one_by_one):
    loss = Counted(function)
    options = {"checkpoint": path, "executor": Inline() if executor else None}
    for reports in (1, 20, 70):
        with pytest.raises(Stopped):
            check(loss, **options, progress=stop_after(reports))
    assert content(check(loss, **options)) == EXPECTED
    uninterrupted = Counted(function)
    check(uninterrupted)
    if not executor:
        runs, of_each = 4, 2 + 1  # the values by which the loss is known, and the base
        assert loss.calls == uninterrupted.calls - 1 + runs * of_each, "nothing was done twice"
    loss.calls = 0
    assert content(check(loss, checkpoint=path)) == EXPECTED
    confirming = uninterrupted.calls - EXPECTED["evaluations"] - 1
    assert loss.calls <= 4 + confirming


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"seed": 1}, r"another seed \(0 there, 1 here\)"),
        ({"rtol": 1e-3}, r"another rtol \(None there, 0\.001 here\)"),
        ({"atol": 1e-3}, r"another atol \(None there, 0\.001 here\)"),
        ({"step": 1e-3}, r"another step \(None there, 0\.001 here\)"),
        ({"gradient": gradient_of(PARAMS)}, "another gradient;"),
        ({"gradient": {**WRONG, "b": WRONG["b"].astype(np.float32).astype(float)}}, "another gradient;"),
        ({"params": {**PARAMS, "c": 1.25}}, "another loss, another value of the parameters;"),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else "",
)
def test_a_checkpoint_of_another_check_is_refused(change, message, path):
    check(checkpoint=path)
    before = path.read_bytes()
    with pytest.raises(ValueError, match=rf"^checkpoint: .*run\.npz is of another problem, with {message}"):
        check(**change, checkpoint=path)
    assert path.read_bytes() == before


def test_a_checkpoint_of_another_method_is_refused(path):
    gf.gradcheck(function, WRONG, PARAMS, checkpoint=path)
    with pytest.raises(ValueError, match=r"another method \(auto there, directional here\)"):
        check(checkpoint=path)


KILLED = f"""{KEEPS_ALL}
import pickle
from concurrent.futures import ThreadPoolExecutor
from gradcheck_fast.comparison import directional
from test_directional_runs import check, content, function

directional._STRETCH_SECONDS = 0.02

def slow(params):
    time.sleep(1e-3)
    return function(params)

with ThreadPoolExecutor(2) as executor:
    chosen = executor if sys.argv[2] == "threads" else None
    found = check(slow, progress=report, checkpoint=sys.argv[1], executor=chosen)
with open(sys.argv[1] + ".report", "wb") as file:
    pickle.dump(content(found), file)
"""


@pytest.mark.parametrize("executor", ["none", pytest.param("threads", marks=pytest.mark.long)])
def test_killed_again_and_again_it_ends_with_the_same_report(executor, path):
    command = [sys.executable, "-c", KILLED, str(path), executor]
    reached = []
    for kills in range(3):
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
            fractions = [float(process.stdout.readline()) for _ in range(2 + kills)]
            process.send_signal(signal.SIGKILL)
        reached.append((fractions[0], fractions[-1]))
    for (_, last), (first, _) in pairwise(reached):
        assert first >= last, "what was reported had been saved"
    subprocess.run(command, stdout=subprocess.DEVNULL, check=True)
    with open(f"{path}.report", "rb") as file:
        assert pickle.load(file) == EXPECTED


# ---- how far it is


def test_fractions_rise_while_an_array_is_halved(one_by_one):
    fractions = []
    check(progress=fractions.append)
    assert fractions == sorted(fractions)
    assert fractions[-1] == 1.0
    assert len(set(fractions)) > 40


def test_a_right_gradient_is_told_as_far_as_it_is(one_by_one):
    """By the nine evaluations that three directions take, and fewer of a number."""
    params = {"A": np.ones((5, 5)), "b": np.ones(5), "c": 1.0}
    loss, gradient = lambda p: float(np.sum(p["A"]) + np.sum(p["b"]) + p["c"]), dict(params)
    fractions = []
    assert check(loss, gradient, params, progress=fractions.append)
    done = 21 * np.array(fractions)
    np.testing.assert_allclose(done, np.round(done), atol=1e-9, err_msg="of 9 + 9 + 3 evaluations")


@pytest.fixture
def slow_motion(clock_of):
    """Runs check() with a loss of which each evaluation takes the given seconds, by a clock that is made up."""
    clock = clock_of(progress, replay)

    def slow_motion(seconds, **options):
        def loss(params):
            clock.now += seconds
            return function(params)

        return check(loss, **options)

    return slow_motion


def test_a_long_check_is_warned_of(slow_motion):
    with pytest.warns(gf.LongRunWarning, match=r"this takes about \d.*; executor= does several arrays at once"):
        slow_motion(3.0, gradient=gradient_of(PARAMS))


def test_a_short_check_is_not_warned_of(slow_motion):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        slow_motion(1.0, gradient=gradient_of(PARAMS))


def test_a_line_moves_while_one_array_is_halved(slow_motion, capsys):
    """A loss of a second for each of hundreds of evaluations."""
    with pytest.warns(gf.LongRunWarning):
        slow_motion(1.0, progress=True)
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) > 5
    assert all("left" in line for line in lines[:-1])
    assert lines[-1] == "gradcheck_fast: 100%"
