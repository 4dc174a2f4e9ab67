"""Modules that run in their own precision, but not in float64."""

from __future__ import annotations

import pytest

import gradcheck_fast as gf

torch = pytest.importorskip("torch")


class Kernel(torch.autograd.Function):
    """A product of matrices in float32."""

    @staticmethod
    def forward(ctx, x, w):
        if w.dtype != torch.float32:
            raise ValueError(f"kernel of float32, got {w.dtype}")
        ctx.save_for_backward(x, w)
        return x @ w

    @staticmethod
    def backward(ctx, grad):
        x, w = ctx.saved_tensors
        return grad @ w.T, x.T @ grad


class Layer(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.w = torch.nn.Parameter(torch.ones(3, 2))

    def forward(self, x):
        return Kernel.apply(x, self.w)


def test_a_module_with_a_kernel_of_float32_names_what_checks_the_kernel():
    x = torch.ones(4, 3)
    with pytest.raises(TypeError, match=r"module: .*not in float64.*ValueError \(kernel of float32.*check_function"):
        gf.torch.gradcheck(Layer(), lambda out: out.square().sum(), x)
    inputs = (x.clone().requires_grad_(), torch.ones(3, 2).requires_grad_())
    assert gf.torch.check_function(Kernel, inputs).ok
