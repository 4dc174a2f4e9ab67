"""The first look of ``method="directional"`` at functions of tensors."""

from __future__ import annotations

import numpy as np
import pytest

import gradcheck_fast as gf

torch = pytest.importorskip("torch")

N = 30
W = torch.from_numpy(np.random.default_rng(1).standard_normal((N, N)))


def operator(back, forward=lambda x: x @ W):
    """Makes a function of one tensor, whose backward is ``back(grad, x)``."""

    class Operator(torch.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            ctx.save_for_backward(x)
            return forward(x)

        @staticmethod
        def backward(ctx, grad):
            return back(grad, *ctx.saved_tensors)

    return Operator


def tensor(*shape):
    return torch.from_numpy(np.random.default_rng(2).standard_normal(shape)).requires_grad_()


def check(function, *inputs, **options):
    return gf.torch.check_function(function, inputs, method="directional", skip=gf.torch.ASPECTS, **options)


@pytest.mark.parametrize("seed", range(4))
def test_a_right_gradient_takes_two_calls_for_each_input_and_the_power_is_said(seed):
    report = check(operator(lambda grad, x: grad @ W.T), tensor(5, N), seed=seed)
    assert (report.verdict, report.evaluations) == ("PASS", 2)
    assert 0.0 < report.arrays[0].power <= 1e-3
    assert "would have been seen with probability >= 0.999" in str(report)


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize(
    "back",
    [
        lambda grad, x: grad @ W,  # the error is antisymmetric
        lambda grad, x: 1.01 * grad @ W.T,
        lambda grad, x: (grad @ W.T).roll(1, 0),
        lambda grad, x: grad @ W.T * torch.where(torch.arange(N) == 3, 0.9, 1.0),
    ],
    ids=["transposed", "1 %", "rolled", "a column"],
)
def test_mistakes_are_seen_with_every_seed(back, seed):
    assert check(operator(back), tensor(5, N), seed=seed).verdict == "FAIL"


def test_each_input_has_a_direction_of_its_own():
    class Product(torch.autograd.Function):
        @staticmethod
        def forward(ctx, a, b):
            ctx.save_for_backward(a, b)
            return a @ b

        @staticmethod
        def backward(ctx, grad):
            a, b = ctx.saved_tensors
            return grad @ b.T, 1.001 * (a.T @ grad)

    report = check(Product, tensor(4, 6), tensor(6, 3))
    assert [(array.name, array.status) for array in report.arrays] == [("inputs[0]", "right"), ("inputs[1]", "wrong")]


@pytest.mark.parametrize(
    "function",
    [
        lambda x: torch.nn.functional.dropout(x, 0.5),
        lambda x: (x @ W, x.sin()),
        lambda x: (x * 1e-9).cos() * 1e9,
        lambda x: x.detach() + 0.0 * x,
    ],
    ids=["random", "two outputs", "small slopes", "no slope"],
)
def test_what_one_difference_does_not_show_is_looked_at_more_closely(function):
    report = check(function, tensor(5, N))
    assert report.verdict != "FAIL"
    assert report.evaluations > 2


def test_random_states_stay_as_they_are():
    torch.manual_seed(3)
    before = torch.get_rng_state(), np.random.get_state()  # noqa: NPY002
    check(lambda x: torch.nn.functional.dropout(x, 0.5), tensor(5, N))
    check(operator(lambda grad, x: grad @ W.T), tensor(5, N))
    after = torch.get_rng_state(), np.random.get_state()  # noqa: NPY002
    assert torch.equal(before[0], after[0])
    assert all(map(np.array_equal, before[1], after[1]))
