"""gf.torch.check_function: functions with a backward of their own."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from torch_data import data

import gradcheck_fast as gf

torch = pytest.importorskip("torch", reason="PyTorch is not installed")
nn, functional = torch.nn, torch.nn.functional
pytestmark = pytest.mark.usefixtures("one_thread_of_torch", "seed_of_torch")


class Power(torch.autograd.Function):
    """w x**n and, without a gradient, where w x**n is largest; the backward is `factor` times too large."""

    factor = 1.0

    @staticmethod
    def forward(ctx, x, n, w):
        ctx.save_for_backward(x, w)
        ctx.n = n
        out = w * x**n
        index = out.argmax()
        ctx.mark_non_differentiable(index)
        return out, index, out.sum()

    @staticmethod
    def backward(ctx, grad, _, of_sum):
        x, w = ctx.saved_tensors
        grad = grad + of_sum
        of_x = grad * w * ctx.n * x ** (ctx.n - 1) if ctx.needs_input_grad[0] else None
        of_w = grad * x**ctx.n if ctx.needs_input_grad[2] else None
        return of_x, None, of_w


class WrongPower(Power):
    @staticmethod
    def backward(ctx, grad, _, of_sum):
        of_x, _, of_w = Power.backward(ctx, grad, _, of_sum)
        of_w[1, 2] *= 1.001
        return of_x, None, of_w


def power_inputs(dtype=torch.float64):
    return data(3, 4, dtype=dtype).requires_grad_(), 3, data(3, 4, dtype=dtype).requires_grad_()


@pytest.mark.parametrize("function", [Power, Power.apply, lambda x, n, w: Power.apply(x, n, w)])
@pytest.mark.parametrize("dtype, error", [(torch.float64, 1e-8), (torch.float32, 1e-6)])
def test_a_right_function(function, dtype, error):
    report = gf.torch.check_function(function, power_inputs(dtype), directions=2)
    assert report.ok
    assert report.relative_error < error
    assert {a.name: a.shape for a in report.arrays} == {"inputs[0]": (3, 4), "inputs[2]": (3, 4)}


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
def test_a_wrong_entry_of_a_function(dtype):
    report = gf.torch.check_function(WrongPower, power_inputs(dtype))
    assert (report.verdict, report.wrong) == ("FAIL", 1)
    assert report.worst()[0][:2] == ("inputs[2]", (1, 2))


def test_inputs_that_require_no_gradient_stay():
    x, n, w = power_inputs()
    report = gf.torch.check_function(Power, (x, n, w.detach()))
    assert report.ok
    assert [a.name for a in report.arrays] == ["inputs[0]"]


def test_a_function_of_one_tensor_and_its_indices():
    table = data(4, 2).requires_grad_()
    assert gf.torch.check_function(torch.exp, table)
    assert gf.torch.check_function(functional.embedding, (torch.tensor([2, 0, 2]), table))


def test_a_function_that_writes_into_its_input():
    x = data(5).requires_grad_()
    before = x.detach().clone()
    assert gf.torch.check_function(lambda x: x.mul_(2).sin_(), x)
    assert torch.equal(x, before)
    assert x.grad is None


def test_a_function_that_does_not_fit():
    x = data(3).requires_grad_()
    with pytest.raises(TypeError, match=r"function: expected a torch\.autograd\.Function or a function of tensors"):
        gf.torch.check_function("sin", x)
    with pytest.raises(ValueError, match=r"inputs: no tensor requires a gradient.*requires_grad_\(\)"):
        gf.torch.check_function(torch.sin, x.detach())
    with pytest.raises(ValueError, match="function: none of its outputs has a gradient"):
        gf.torch.check_function(torch.argmax, x)
    with pytest.raises(ValueError, match=r"f: .* gives other numbers each time"):
        gf.torch.check_function(lambda x: x * np.random.default_rng().random(), x)


def test_threads_call_a_module_one_after_another():
    class Keeps(nn.Module):
        def forward(self, x):
            self.kept = torch.tanh(x)
            return self.kept * 2

    x = torch.randn(100, dtype=torch.float64, requires_grad=True)
    with ThreadPoolExecutor(4) as executor:
        assert gf.torch.check_function(Keeps(), x, executor=executor)
