"""A family of mistakes that raises an error: the others go on, and one note says so."""

from __future__ import annotations

import numpy as np
import pytest

import gradcheck_fast as gf
from gradcheck_fast.diagnosis import stages
from gradcheck_fast.diagnosis.graph.mutants import Change, Mutant

X = np.random.default_rng(0).normal(size=(6, 3))


def loss(p):
    a = np.tanh(X @ p["w"])
    return np.sum(a**2)


def gradient(p):
    a = np.tanh(X @ p["w"])
    return {"w": X.T @ (2 * a)}


def raises_at_once(view):
    raise ValueError("no such axis")
    yield


def raises_later(view):
    """Its rule raises an error when what goes back is computed."""

    def rule(bars, up):
        raise ValueError("no such axis")

    for place in view.places:
        number = place.steps[0]
        yield Mutant("nothing", Change({(number, k): rule for k, _ in view.backward.inner(number)}), place)


@pytest.mark.parametrize("family", [raises_at_once, raises_later])
def test_the_other_families_go_on(family, monkeypatch):
    monkeypatch.setattr(stages, "NAMED", (family, *stages.NAMED))
    params = {"w": np.random.default_rng(1).normal(size=(3, 4))}
    report = gf.gradcheck(loss, gradient, params)
    assert "the derivative of tanh is left out" in report.diagnoses[0].cause
    notes = [note for note in report.notes if "the search for the mistake failed" in note]
    assert len(notes) == 1
    assert "no such axis" in notes[0]


def test_a_product_of_a_column_and_a_row_is_no_normalisation_and_raises_nothing():
    params = {"x": np.array([0.5, -1.0, 2.0]), "w": np.array([1.0, 0.3, -0.7, 1.9])}

    def outer(p):
        return np.sum((p["x"][:, None] * p["w"]) ** 2)

    def half(p):
        return {"x": p["x"] * np.sum(p["w"] ** 2), "w": 2 * p["w"] * np.sum(p["x"] ** 2)}

    report = gf.gradcheck(outer, half, params)
    assert not any("failed" in note for note in report.notes)
    assert "what goes back to x is halved" in report.diagnoses[0].cause
