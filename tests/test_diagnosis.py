"""Diagnosis: it names the mistake that was planted, and says nothing where it does not know."""

from __future__ import annotations

import re

import numpy as np
import pytest
from mistakes import IN_ARRAYS, IN_LAYERS, cross_entropy

import gradcheck_fast as gf

PLANTED = {
    **IN_ARRAYS,
    **IN_LAYERS,
    "softmax-twice": lambda rng: cross_entropy(rng, True),
    "softmax-not-at-all": lambda rng: cross_entropy(rng, False),
}
#: The place of an error is no cause.
PLACE = "the error enters at layer"


def causes(planted, gradient):
    report = gf.gradcheck(planted.loss, gradient, planted.params)
    return [diagnosis.cause for diagnosis in report.diagnoses]


def is_named(planted):
    found = causes(planted, planted.wrong)
    return bool(found) and re.search(planted.says, found[0]) is not None


@pytest.mark.parametrize("mistake", PLANTED)
def test_a_planted_mistake_is_named(mistake):
    planted = PLANTED[mistake](np.random.default_rng(0))
    assert gf.gradcheck(planted.loss, planted.right, planted.params).ok
    assert is_named(planted), causes(planted, planted.wrong)
