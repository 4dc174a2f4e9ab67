"""The variables that the steps of a trace are assigned to, as the user's source has them."""

from __future__ import annotations

import numpy as np
import pytest

import gradcheck_fast as gf
from gradcheck_fast.frontends.numpy_trace.variables import words_of

W = np.linspace(-0.9, 0.8, 12).reshape(3, 4)
X = np.linspace(-1.0, 1.0, 15).reshape(5, 3)


def names(loss, params=W):
    """The names of all steps that have any, with their shapes."""
    found = gf.trace(loss, params).sensitivities(params)
    return [(sensitivity.name, sensitivity.value.shape) for sensitivity in found if sensitivity.name]


def test_the_last_step_of_an_assignment_has_its_name():
    def loss(w):
        z = X @ (2.0 * w) + 1.0
        a = np.tanh(z)
        return np.sum(a * a)

    assert names(loss) == [("z", (5, 4)), ("a", (5, 4))]


def test_names_are_written_as_in_the_source():
    class Net:
        def forward(self, w):
            self.z = X @ w
            cache = {}
            cache["a"] = np.tanh(self.z)
            h = np.zeros((2, 5, 4))
            h[0] = cache["a"] * 2.0
            h[1, :, 1:] = cache["a"][:, 1:] * 3.0
            return np.sum(h)

    assert [name for name, _ in names(lambda w: Net().forward(w))] == ["self.z", "cache['a']", "h[0]", "h[1, :, 1:]"]


def test_what_a_function_returns_belongs_to_the_variable_of_its_caller():
    def affine(x, w):
        out = x @ w
        return out, (x, w)

    def tanh(x):
        return np.tanh(x)

    def loss(w):
        z1, _ = affine(X, w)
        a1 = tanh(z1)
        return np.sum(a1**2)

    assert [name for name, _ in names(loss)] == ["z1", "a1"]


def test_a_call_inside_of_an_expression_does_not_take_the_name():
    def tanh(x):
        return np.tanh(x)

    def loss(w):
        a = 2.0 * tanh(X @ w) + 1.0
        return np.sum(a)

    traced = gf.trace(loss, W)
    assert [(s.operation, s.name) for s in traced.sensitivities(W) if s.name] == [("add", "a")]


def test_several_variables_of_one_statement():
    def loss(w):
        a, b = np.tanh(w), np.exp(w)
        c, d = (part * 2.0 for part in (a, b))
        return np.sum(c / (2.0 + d**2))

    assert names(loss) == [(name, (3, 4)) for name in "abcd"]


def test_each_time_of_a_loop_has_the_name():
    def loss(w):
        h = np.zeros((5, 4))
        for _ in range(3):
            z = X @ w + h
            h = np.tanh(z)
        return np.sum(h)

    assert [name for name, _ in names(loss)] == ["z", "h"] * 3


def test_an_augmented_assignment_has_the_name_of_what_it_changes():
    def loss(w):
        total = 0.0
        for row in w:
            total += np.sum(np.tanh(row))
        return total

    assert [name for name, _ in names(loss)] == ["total"] * 3


def test_what_a_lambda_computes_is_not_the_lambda():
    assert names(lambda w: np.sum(np.tanh(X @ w))) == []


def test_without_source_there_are_no_names():
    space = {"np": np}
    exec("def loss(w):\n    z = np.tanh(w)\n    return np.sum(z)", space)
    assert names(space["loss"]) == []


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("z1", ("z1",)),
        ("h[t]", ("h[t]", "h")),
        ("self.a1", ("self.a1", "a1")),
        ("p['z1']", ("p['z1']", "z1")),
        ("self.C[t, :, 0]", ("self.C[t, :, 0]", "self.C", "C")),
        ("self.cache['a'][t]", ("self.cache['a'][t]", "self.cache['a']", "a")),
    ],
)
def test_a_variable_may_be_meant_by_its_last_name(name, words):
    assert words_of(name) == words
