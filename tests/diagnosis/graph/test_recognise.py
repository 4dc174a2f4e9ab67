"""Functions that are recognised by their values, in any spelling, and functions that are not."""

from __future__ import annotations

import numpy as np
import pytest

import gradcheck_fast as gf
from gradcheck_fast.diagnosis.graph.backward import Backward
from gradcheck_fast.diagnosis.graph.known_softmaxes import log_softmaxes, softmaxes
from gradcheck_fast.diagnosis.graph.normalisations import normalisations
from gradcheck_fast.diagnosis.graph.recognise import entrywise, name_of, same

Z = np.linspace(-2.0, 3.0, 12).reshape(3, 4)


def backward_of(loss, params=Z):
    traced = gf.trace(loss, params)
    return Backward(traced.engine, traced.pack(params).flat)


@pytest.mark.parametrize(
    ("name", "function"),
    [
        ("sigmoid", lambda z: np.exp(z) / (1 + np.exp(z))),
        ("tanh", lambda z: 2 / (1 + np.exp(-2 * z)) - 1),
        ("relu", lambda z: z * (z > 0)),
        ("leaky_relu with slope 0.3", lambda z: np.where(z > 0, z, 0.3 * z)),
        ("elu with alpha 2", lambda z: np.where(z > 0, z, 2 * np.expm1(z))),
        ("silu", lambda z: z / (1 + np.exp(-z))),
        ("square", lambda z: z * z),
    ],
)
def test_functions_are_known_in_any_spelling(name, function):
    found = entrywise(backward_of(lambda z: np.sum(function(z) * Z)))
    assert name in {one.name for one in found}


def test_few_numbers_are_no_evidence():
    assert name_of(np.array([1.0, 2.0]), np.array([1.0, 2.0])) == ""


def test_a_rectifier_that_never_cuts_is_none():
    z = np.array([1.0, 2.0, 3.0])
    assert name_of(z, z) == ""


def test_numbers_that_are_not_finite_are_not_the_same():
    assert not same(np.array([np.inf, 1.0]), np.array([np.inf, 2.0]))


@pytest.mark.parametrize("axis", [0, 1])
def test_softmax_is_known_along_any_axis(axis):
    def loss(z):
        e = np.exp(z - z.max(axis=axis, keepdims=True))
        return np.sum((e / e.sum(axis=axis, keepdims=True)) * Z)

    (found,) = softmaxes(backward_of(loss))
    assert found.axis == axis
    assert found.bottom == 0


def test_numbers_that_add_up_to_1_are_no_softmax():
    assert softmaxes(backward_of(lambda z: np.sum(z / z.sum(axis=1, keepdims=True) * Z), np.exp(Z))) == []


def test_the_logarithm_of_a_softmax_is_known():
    (found,) = log_softmaxes(backward_of(lambda z: np.sum((z - np.log(np.exp(z).sum(axis=1, keepdims=True))) * Z)))
    assert (found.bottom, found.axis) == (0, 1)


@pytest.mark.parametrize(
    ("loss", "is_centred"),
    [
        (lambda z: np.sum((z - z.mean(axis=0)) / z.std(axis=0) * Z), True),
        (lambda z: np.sum(z / np.sqrt((z**2).sum(axis=1, keepdims=True)) * Z), False),
        (lambda z: np.sum(z * (1 / np.linalg.norm(z, axis=1, keepdims=True)) * Z), False),
    ],
)
def test_normalisations_are_known_by_their_structure(loss, is_centred):
    (found,) = normalisations(backward_of(loss))
    assert found.bottom == 0
    assert (found.centred is not None) is is_centred
