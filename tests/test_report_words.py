"""What a report says in words where a number, or silence, would mislead."""

from __future__ import annotations

import json
import re

import numpy as np
import pytest

import gradcheck_fast as gf
from gradcheck_fast.html import page
from gradcheck_fast.text import format_error, short_text

X = np.linspace(0.5, 2.0, 6)


def cubes(x):
    return float(np.sum(x**3))


def row_of(text, name):
    return next(line for line in text.splitlines() if line.startswith(f"{name} "))


# ---- a gradient of the opposite sign

OPPOSITE = {
    "exactly": -3 * X**2,
    "but for rounding": np.float32(-3 * X**2).astype(float),
    "but for a part in a thousand": -3.003 * X**2,
    "in a single precision": np.float32(-3 * X**2),
}
OPTIONS = {"entries": {}, "sample": {"sample": 3}, "directions": {"method": "directional"}, "step": {"step": 1e-5}}


@pytest.mark.parametrize("options", OPTIONS.values(), ids=OPTIONS)
@pytest.mark.parametrize("gradient", OPPOSITE.values(), ids=OPPOSITE)
def test_an_opposite_sign_is_called_so_in_every_view(gradient, options):
    report = gf.gradcheck(cubes, gradient, X, **options)
    assert not report.ok
    for name in ("params", "total"):
        assert "opposite sign" in row_of(str(report), name)
        assert "opposite sign" in row_of(f"{short_text(report)}\n", name)
    assert "opposite sign" in repr(report)
    assert page(report).count("<td>opposite sign</td>") == 2
    assert not re.search(r"e\+(0[2-9]|[1-9])", str(report) + page(report))


def test_programs_get_the_number():
    report = gf.gradcheck(cubes, -3 * X**2, X)
    assert report.relative_error > 1e6
    assert json.loads(json.dumps(report.to_dict()))["arrays"][0]["relative_error"] == report.arrays[0].relative_error


def test_only_the_array_of_which_it_is_so_is_said_to_be():
    params = {"a": X, "b": X + 1}
    report = gf.gradcheck(lambda p: cubes(p["a"]) + cubes(p["b"]), {"a": -3 * X**2, "b": 3 * (X + 1) ** 2}, params)
    assert "opposite sign" in row_of(str(report), "a")
    assert "opposite sign" not in row_of(str(report), "b") + row_of(str(report), "total") + repr(report)


def test_a_gradient_that_is_tolerated_all_the_same():
    report = gf.gradcheck(cubes, -3 * X**2, X, atol=1e3)
    assert report.ok
    assert report.reason == "every entry agrees, opposite sign"


@pytest.mark.parametrize(
    ("gradient", "ratio"),
    [(-3.3 * X**2, 21), (-6 * X**2, 3), (-1.5 * X**2, 3), (3 * np.where(X < 1, -1, 1) * X**2, 0.15), (-(X**3), 4)],
)
def test_other_wrong_gradients_keep_their_number(gradient, ratio):
    report = gf.gradcheck(cubes, gradient, X)
    assert report.relative_error == pytest.approx(ratio, rel=0.5)
    assert "opposite" not in str(report) + repr(report) + page(report)


def test_what_is_no_ratio_is_no_sign():
    assert [format_error(x) for x in (0.0, float("nan"), 999.0, 1000.0, float("inf"))] == [
        "0.0e+00", "nan", "1.0e+03", "opposite sign", "opposite sign"
    ]  # fmt: skip
