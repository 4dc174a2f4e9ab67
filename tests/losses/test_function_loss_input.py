"""What a Python loss may not return or raise is named."""

from __future__ import annotations

import numpy as np
import pytest

import gradcheck_fast as gf

# ---- bad input


@pytest.mark.parametrize(
    ("returned", "said"),
    [
        (None, "got None; did it forget to return it?"),
        (np.ones(5), r"got an array of shape \(5,\)"),
        (1j, "got 1j"),
        ("1.0", "got '1.0'"),
        ([], r"got \[\]"),
    ],
)
def test_what_a_loss_may_not_return(returned, said):
    params = np.ones(2)
    for call in (gf.numerical_gradient, lambda loss, p: gf.gradcheck(loss, p, p)):
        with pytest.raises(TypeError, match=f"loss: expected it to return one real number, {said}"):
            call(lambda p: returned, params)
    np.testing.assert_array_equal(params, 1.0)


def test_an_exception_comes_through_with_the_entry_that_was_perturbed():
    def loss(p):
        if p["W"][1, 0] != 1.0:
            raise KeyError("mine")
        return 1.0

    with pytest.raises(KeyError, match="mine") as raised:
        gf.gradcheck(loss, {"W": np.ones((2, 2))}, {"W": np.ones((2, 2))})
    if hasattr(raised.value, "__notes__"):  # Python 3.11
        assert raised.value.__notes__ == [
            "gradcheck_fast: raised by the loss while W[1, 0] was 1.0000060554544523 instead of 1.0"
        ]


def test_vectorized_is_for_python_functions():
    net = gf.Network(gf.Dense(1, 1), cost=gf.SquaredError())
    loss, params = net.loss([[1.0]], [[1.0]]), net.init(0)
    with pytest.raises(ValueError, match="vectorized: only Python functions"):
        gf.numerical_gradient(loss, params, vectorized=True)
    with pytest.raises(TypeError, match="vectorized: expected True or False, got 1"):
        gf.numerical_gradient(lambda p: 1.0, params, vectorized=1)
    with pytest.raises(ValueError, match="method: 'complex' needs a Python function"):
        gf.numerical_gradient(lambda p: np.ones(len(p)), np.ones(2), vectorized=True, method="complex")
