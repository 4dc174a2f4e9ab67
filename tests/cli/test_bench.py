"""The short benchmark: what it prints, and that what it times is the same work."""

import numpy as np
import pytest

import gradcheck_fast as gf
from gradcheck_fast.cli import bench
from gradcheck_fast.cli.main import main


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    monkeypatch.setattr(bench, "NETWORKS", (((2, 3, 1), 3), ((5, 4, 2), 7)))
    monkeypatch.setattr(bench, "SECONDS", 0.001)


def test_it_prints_a_row_for_every_method_of_every_network(capsys):
    assert main(["bench"]) == 0
    lines = capsys.readouterr().out.splitlines()
    rows = [line for line in lines if "N = " in line]
    assert len(rows) == 10
    for method in ("NumPy loop", "incremental", "units", "chain", "gradcheck, complete"):
        assert sum(method in row for row in rows) == 2
    assert gf.show_config("dicts")["instruction_set"] in lines[0]


def test_times_and_ratios_fit(capsys):
    timings = bench.run()
    for loop, *others in (timings[:5], timings[5:]):
        assert loop.times_the_loop == 1
        for timing in others:
            assert timing.network == loop.network
            assert timing.times_the_loop == pytest.approx(loop.seconds / timing.seconds)


def test_the_loop_evaluates_the_same_cost():
    rng = np.random.default_rng(3)
    net = gf.Network(
        [gf.Dense(5, 4, "sigmoid"), gf.Dense(4, 2, "sigmoid")], cost=gf.SquaredError(reduction="batchmean")
    )
    X, y, params = rng.random((7, 5)), rng.random((7, 2)), net.init(seed=0)
    assert bench._cost(params, X, y) == pytest.approx(net.loss(X, y)(params), rel=1e-14)
