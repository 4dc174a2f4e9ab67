"""Options: what is read where a call comes in, and losses that users write as problems."""

from __future__ import annotations

from dataclasses import FrozenInstanceError

import numpy as np
import pytest

from gradcheck_fast.checks.options import AllKeywords, CommonKeywords, Options


def test_numbers_are_read_once():
    options = Options.for_check(rtol=np.float32(0.5), step=1, seed=np.int64(3), sample=np.int64(7))
    assert (options.rtol, options.step, options.seed, options.sample) == (0.5, 1.0, 3, 7)
    assert [type(x) for x in (options.rtol, options.step, options.seed, options.sample)] == [float, float, int, int]
    assert options.tolerances == (0.5, None)
    assert options.tolerances.are_given
    assert not Options().tolerances.are_given
    with pytest.raises(FrozenInstanceError):
        options.seed = 4


@pytest.mark.parametrize(
    ("keywords", "named"),
    [
        ({"rtol": -1.0}, "rtol"),
        ({"atol": "1"}, "atol"),
        ({"seed": -1}, "seed"),
        ({"step": 0.0}, "step"),
        ({"step": 1e-200}, "step"),
        ({"sample": 1.5}, "sample"),
    ],
)
def test_what_does_not_fit_is_refused_by_name(keywords, named):
    for make in (Options, Options.for_check):
        with pytest.raises((TypeError, ValueError), match=f"^{named}: expected"):
            make(**keywords)


def test_methods_of_checks_and_of_gradients():
    assert Options.for_check(method="directional").is_directional
    with pytest.raises(ValueError, match=r"^method: 'directional' checks a gradient without finding one"):
        Options(method="directional").require_gradient()
    with pytest.raises(ValueError, match=r"^method: unknown name 'units2', did you mean 'units'"):
        Options.for_check(method="units2")
    for more, named in (({"sample": 5}, "sample"), ({"error_bars": True}, "error_bars")):
        with pytest.raises(ValueError, match=f"^{named}: .*; leave "):
            Options.for_check(method="directional", **more)


def test_keywords_that_a_function_does_not_have():
    assert Options.from_keywords("f", {"rtol": 1e-3}, CommonKeywords, seed=2) == Options(rtol=1e-3, seed=2)
    with pytest.raises(TypeError, match=r"^f: it has no option 'checkpoint'; its options are method, step, "):
        Options.from_keywords("f", {"checkpoint": "x"}, CommonKeywords)
    with pytest.raises(TypeError, match=r"^f: it has no option 'tol'; .*, checkpoint, seed$"):
        Options.from_keywords("f", {"tol": 1.0}, AllKeywords)
