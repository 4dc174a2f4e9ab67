"""What a report says of a gradient that was compared along directions, and how the options change it."""

from __future__ import annotations

import copy
import json
import pickle

import numpy as np
import pytest
from networks import make

import gradcheck_fast as gf
from gradcheck_fast.comparison.localise import Located


def check(loss, gradient, params, **options):
    return gf.gradcheck(loss, gradient, params, method="directional", **options)


@pytest.fixture(scope="module")
def case():
    return make(np.random.default_rng(0), [40, 30, 6], ["tanh", "identity"], "class_logits", samples=20)


@pytest.fixture(scope="module")
def bad(case):
    wrong = copy.deepcopy(case.gradient)
    wrong["W1"][10:30, 5:25] *= 2.0
    wrong["W2"][3, 1] += 0.5
    return check(case.loss, wrong, case.params)


def test_text(bad):
    text = str(bad)
    assert "gradcheck: FAIL   401 of 1,416 entries are wrong, in W1, W2" in text
    assert "method directional, h chosen per array" in text
    assert f"{bad.evaluations:,} evaluations" in text
    assert "in any one array besides what was found would have been seen" in text.replace("\n  ", " ")
    assert "W1, rows 10-29 x columns 5-24: all of 64 entries drawn at random are wrong" in text
    assert "W2: wrong at [3, 1]" in text
    assert "the gradient of W1, rows 10-29 x columns 5-24 is doubled" in text
    assert max(map(len, text.splitlines())) <= 100


def test_power_and_relative_error(case, bad):
    report = check(case.loss, case.gradient, case.params)
    assert "would have been seen with probability >= 0.999" in report.coverage
    stated = float(report.coverage.split(">= ")[1].split()[0])
    assert max(array.power for array in report.arrays) <= stated < 1e-6
    doubled = check(case.loss, {**case.gradient, "W1": 2.0 * case.gradient["W1"]}, case.params)
    assert doubled.arrays[0].relative_error == pytest.approx(1.0 / 3.0, rel=1e-6)


def test_the_one_array_of_which_something_can_be_said_is_named():
    params = {"W": np.ones((4, 5)), "unused": np.ones(5)}
    gradient = {"W": 2.0 * params["W"], "unused": np.zeros(5)}
    report = check(lambda p: float(np.sum(p["W"] ** 2)), gradient, params)
    assert " in W would have been seen" in report.coverage
    assert (
        " in params would have been seen" in check(lambda x: float(np.sum(x**2)), 2.0 * np.ones(5), np.ones(5)).coverage
    )


def test_what_is_not_known_is_nan(bad, case):
    known = ~np.isnan(bad.numerical["W1"])
    assert known.sum() == 64
    np.testing.assert_allclose(bad.numerical["W1"][known], case.gradient["W1"][known], rtol=1e-4, atol=1e-7)
    assert np.isnan(bad.numerical["b1"]).all()
    assert len(bad.worst(10_000)) == 65
    np.testing.assert_array_equal(np.isnan(bad.error_bars["W1"]), ~known)


def test_to_dict_html_pickle(bad, tmp_path):
    as_dict = bad.to_dict()
    assert json.loads(json.dumps(as_dict)) == as_dict
    assert as_dict["evaluations"] == bad.evaluations
    assert as_dict["coverage"] == bad.coverage
    assert as_dict["arrays"][0]["blocks"] == [
        {"label": "rows 10-29 x columns 5-24", "rows": [[10, 30]], "columns": [[5, 25]], "extent": [40, 30],
         "size": 400, "drawn": 64, "wrong": 64}
    ]  # fmt: skip
    assert as_dict["arrays"][2]["entries"] == [[3, 1]]
    bad.save(tmp_path / "report.html")
    page = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert "all of 64 entries drawn at random are wrong" in page
    assert "would have been seen" in page
    assert str(pickle.loads(pickle.dumps(bad))) == str(bad)


def test_arrays_say_from_what_size_on_errors_are_seen(bad):
    head, *rows = [line for line in str(bad).splitlines() if line.startswith(("array", "W1", "b1", "W2", "b2"))][:5]
    assert head.split("   ")[3].strip() == "seen from"
    for row, array in zip(rows, bad.arrays, strict=True):
        assert f" {array.power:.1e} " in row


def test_plot(bad):
    pytest.importorskip("matplotlib").use("Agg")
    assert "not finite" not in str(bad.plot().axes[-1].get_title())


def test_what_cannot_be_located_is_still_wrong(case, monkeypatch):
    """Nothing is found in any round: the array is wrong somewhere."""
    monkeypatch.setattr("gradcheck_fast.comparison.directional.locate", lambda *args, **kwargs: Located())
    report = check(case.loss, {**case.gradient, "W1": 2.0 * case.gradient["W1"]}, case.params)
    assert report.wrong == 1
    assert "W1, everywhere: something is wrong there" in str(report)
    assert "about 1 of" in str(report)


def test_the_same_seed_gives_the_same_report(case):
    wrong = {**case.gradient, "W1": case.gradient["W1"] + (np.arange(1200) == 77).reshape(40, 30)}
    one, two, other = (check(case.loss, wrong, case.params, seed=seed).to_dict() for seed in (5, 5, 6))
    one.pop("seconds"), two.pop("seconds"), other.pop("seconds")
    assert one == two
    assert one != other
    assert one["arrays"][0]["entries"] == other["arrays"][0]["entries"]


def test_progress_and_loss_value(case):
    fractions = []
    report = check(case.loss, case.gradient, case.params, progress=fractions.append, loss_value=1e3)
    assert fractions == sorted(fractions)
    assert fractions[-1] == 1.0
    assert "your cost is 1000" in report.notes[0]


def test_tolerances(case):
    off = {name: array * (1 + 1e-4) for name, array in case.gradient.items()}
    assert not check(case.loss, off, case.params)
    assert check(case.loss, off, case.params, rtol=2e-4)
    assert check(case.loss, off, case.params, atol=1.0)


def test_step(case):
    report = check(case.loss, case.gradient, case.params, step=1e-5)
    assert report.step == 1e-5
    assert report.ok
