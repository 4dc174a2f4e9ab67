"""Wrong entries, rows, columns and blocks are found where they are, in few evaluations."""

from __future__ import annotations

import copy
import math

import numpy as np
import pytest
from networks import make

import gradcheck_fast as gf


@pytest.fixture(scope="module")
def case():
    """20,000 parameters; tanh, so that no entry of the gradient is exactly 0."""
    return make(np.random.default_rng(0), [150, 110, 30, 4], ["tanh", "tanh", "identity"], "squared", samples=16)


@pytest.fixture(scope="module")
def loss(case):
    return case.loss


@pytest.fixture(scope="module")
def gradient(case):
    return case.gradient


@pytest.fixture
def check(case, loss):
    return lambda gradient, **options: gf.gradcheck(loss, gradient, case.params, method="directional", **options)


def plant(gradient, name, where, by=lambda entry, rms: entry + rms):
    wrong = copy.deepcopy(gradient)
    wrong[name][where] = by(wrong[name][where], np.sqrt(np.mean(wrong[name] ** 2)))
    return wrong


def result(report, name):
    return next(array for array in report.arrays if array.name == name)


def most_evaluations(report, k):
    """For k wrong entries, with those that any check takes."""
    return 60 * k * math.log2(sum(array.size for array in report.arrays)) + 10 * len(report.arrays)


@pytest.mark.parametrize("name", ["W1", "b1", "W2", "b3"])
@pytest.mark.parametrize("k", [1, 3, 10])
@pytest.mark.parametrize("seed", range(3))
def test_wrong_entries_are_found_exactly(check, gradient, name, k, seed):
    size = gradient[name].size
    rng = np.random.default_rng(seed)
    flat = np.sort(rng.choice(size, min(k, size), replace=False))
    where = np.unravel_index(flat, gradient[name].shape)
    sizes = rng.choice([-1.0, 0.1, 3.0], len(flat))
    wrong = plant(gradient, name, where, lambda entry, rms: entry + sizes * rms)
    report = check(wrong, seed=seed)
    assert list(result(report, name).entries) == list(zip(*(axis.tolist() for axis in where), strict=True))
    assert report.wrong == len(flat)
    assert [array.name for array in report.arrays if array.wrong] == [name]
    assert report.evaluations <= most_evaluations(report, len(flat))
    for entry in report.worst(report.wrong):
        assert entry.analytic == wrong[name][entry.index]
        assert entry.numerical == pytest.approx(gradient[name][entry.index], abs=1e-3 * np.abs(gradient[name]).max())


@pytest.mark.parametrize(
    ("rows", "columns", "label"),
    [
        (slice(20, 84), slice(40, 72), "rows 20-83 x columns 40-71"),
        (slice(7, 8), slice(None), "row 7"),
        (slice(None), slice(109, 110), "column 109"),
        (slice(0, 50), slice(None), "rows 0-49"),
        (slice(60, 150), slice(0, 1), "rows 60-149 x column 0"),
        (slice(None), slice(None), ""),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
@pytest.mark.parametrize("how", ["negated", "doubled", "zero"])
def test_blocks_are_found_exactly(check, gradient, rows, columns, label, how):
    factor = {"negated": -1.0, "doubled": 2.0, "zero": 0.0}[how]
    report = check(plant(gradient, "W1", (rows, columns), lambda entry, rms: factor * entry))
    (block,) = result(report, "W1").blocks
    assert block.label == label
    assert (block.drawn, block.wrong) == (64, 64)
    assert report.wrong == block.size == gradient["W1"][rows, columns].size
    assert not result(report, "W1").estimated
    assert report.evaluations <= most_evaluations(report, 1)
    said = {"negated": "of the wrong sign", "doubled": "doubled", "zero": "forgotten"}[how]
    assert said in report.diagnoses[0].cause
    assert report.diagnoses[0].arrays == ("W1",)


def test_several_rows_and_columns(check, gradient):
    report = check(plant(gradient, "W1", [3, 4, 5, 90], lambda entry, rms: -entry))
    (block,) = result(report, "W1").blocks
    assert (block.rows, block.columns, block.label) == (((3, 6), (90, 91)), ((0, 110),), "rows 3-5, 90")


def test_a_block_and_entries_outside_of_it(check, gradient):
    wrong = plant(gradient, "W1", (slice(20, 84), slice(40, 72)))
    wrong["W1"][3, 5] += 0.5
    wrong["b2"][7] = 0.0
    report = check(wrong)
    found = result(report, "W1")
    everywhere = np.zeros(found.shape, bool)
    for block in found.blocks:
        for rows in block.rows:
            for columns in block.columns:
                everywhere[slice(*rows), slice(*columns)] = True
    for entry in found.entries:
        everywhere[entry] = True
    assert everywhere[3, 5]
    assert everywhere[20:84, 40:72].all()
    assert result(report, "b2").entries == ((7,),)


def test_too_many_scattered_entries_are_estimated(check, gradient):
    rng = np.random.default_rng(0)
    where = rng.random(gradient["W1"].shape) < 0.3
    report = check(plant(gradient, "W1", where))
    found = result(report, "W1")
    assert found.estimated
    assert 0.15 < found.wrong / found.size < 0.5
    assert "about" in str(report)
    assert "drawn at random are wrong" in str(report)


def test_a_tiny_bias_beside_a_huge_matrix(check, gradient):
    wrong = plant(gradient, "b3", 2, lambda entry, rms: entry * (1.0 + 1e-4))
    report = check(wrong)
    assert result(report, "b3").entries == ((2,),)
    assert report.wrong == 1


def test_two_entries_that_cancel(check, gradient):
    """Random signs would miss them every other time."""
    for seed in range(10):
        wrong = plant(gradient, "W2", ([5, 60], [7, 20]), lambda entry, rms: entry + np.array([rms, -rms]))
        assert result(check(wrong, seed=seed), "W2").entries == ((5, 7), (60, 20))


def test_errors_of_very_different_sizes(check, gradient):
    wrong = plant(gradient, "W1", ([1, 70], [2, 80]), lambda entry, rms: entry + np.array([1e6, 1.0]) * rms)
    assert result(check(wrong), "W1").entries == ((1, 2), (70, 80))


def test_the_smallest_error_that_is_stated_to_be_seen_is_found(check, gradient):
    for seed in range(10):
        wrong = plant(gradient, "b3", 1, lambda entry, rms: entry + 3e-6 * rms)
        assert result(check(wrong, seed=seed), "b3").entries == ((1,),)


def test_rectifiers():
    case = make(
        np.random.default_rng(3), [60, 80, 40, 5], ["relu", "leaky_relu", "identity"], "class_logits", samples=40
    )
    wrong = plant(case.gradient, "W2", ([10, 33, 70], [3, 3, 39]))
    report = gf.gradcheck(case.loss, wrong, case.params, method="directional")
    assert result(report, "W2").entries == ((10, 3), (33, 3), (70, 39))
    assert report.wrong == 3


def test_an_array_of_more_axes():
    """A kernel of shape (6, 5, 3, 3) is seen as 30 rows of 9."""
    kernel = np.random.default_rng(0).normal(size=(6, 5, 3, 3))
    loss = lambda p: float(np.sum(np.sin(p["K"])))
    right = {"K": np.cos(kernel)}
    report = gf.gradcheck(loss, plant(right, "K", (4, 2, 0, 1)), {"K": kernel}, method="directional")
    assert report.arrays[0].entries == ((4, 2, 0, 1),)
    wrong = gf.gradcheck(loss, plant(right, "K", (slice(1, 3),)), {"K": kernel}, method="directional")
    assert [block.label for block in wrong.arrays[0].blocks] == ["rows 5-14"]
