"""gf.torch with complex tensors."""

from __future__ import annotations

import numpy as np
import pytest

import gradcheck_fast as gf

torch = pytest.importorskip("torch", reason="PyTorch is not installed")
nn = torch.nn


class FourierLayer(torch.autograd.Function):
    """y = ifft(fft(x) W), with its backward."""

    @staticmethod
    def forward(ctx, x, W):
        X = torch.fft.fft(x)
        ctx.save_for_backward(X, W)
        return torch.fft.ifft(X * W)

    @staticmethod
    def backward(ctx, g):
        X, W = ctx.saved_tensors
        G = torch.fft.fft(g) / X.shape[-1]
        return torch.fft.ifft(G * W.conj()) * X.shape[-1], (G * X.conj()).sum(0)


class WithoutConjugate(FourierLayer):
    """The same, but a conjugate is forgotten."""

    @staticmethod
    def backward(ctx, g):
        X, W = ctx.saved_tensors
        G = torch.fft.fft(g) / X.shape[-1]
        return torch.fft.ifft(G * W.conj()) * X.shape[-1], (G * X).sum(0)


class Conjugated(FourierLayer):
    """The same, but the gradient of W is what JAX would have."""

    @staticmethod
    def backward(ctx, g):
        dx, dW = FourierLayer.backward(ctx, g)
        return dx, dW.conj()


class Layers(nn.Module):
    """A complex linear layer, modReLU, and a Fourier layer."""

    def __init__(self, function, dtype):
        super().__init__()
        self.linear = nn.Linear(3, 8, dtype=dtype)
        self.b = nn.Parameter(torch.randn(8, dtype=dtype.to_real()) / 4)
        self.W = nn.Parameter(torch.randn(8, dtype=dtype))
        self.function = function

    def forward(self, x):
        z = self.linear(x)
        size = z.abs()
        return self.function.apply(z / size * torch.relu(size + self.b), self.W)


def power(output):
    return (output.abs() ** 4).mean()


def tensors(dtype=torch.complex128):
    torch.manual_seed(0)
    return torch.randn(4, 8, dtype=dtype, requires_grad=True), torch.randn(8, dtype=dtype, requires_grad=True)


@pytest.mark.parametrize("dtype", [torch.complex128, torch.complex64])
def test_a_function_of_complex_tensors(dtype):
    report = gf.torch.check_function(FourierLayer, tensors(dtype))
    assert report.ok, str(report)
    assert [array.name for array in report.arrays] == [
        "inputs[0].real", "inputs[0].imag", "inputs[1].real", "inputs[1].imag"
    ]  # fmt: skip
    assert any("as PyTorch has them" in note for note in report.notes)
    assert report.analytic["inputs[1]"].dtype.kind == "c"


@pytest.mark.parametrize("function", [WithoutConjugate, Conjugated])
def test_only_the_conventions_of_pytorch_are_right(function):
    report = gf.torch.check_function(function, tensors())
    assert not report.ok
    assert all(array.name.startswith("inputs[1]") for array in report.arrays if array.wrong), str(report)


def test_the_conjugate_is_a_cause():
    x, W = tensors()
    report = gf.torch.check_function(Conjugated, (x.detach(), W))
    assert [diagnosis.cause for diagnosis in report.diagnoses] == ["the gradient of inputs[1] is conjugated"]


def test_real_inputs_and_complex_outputs():
    x = torch.randn(2, 6, dtype=torch.float64, requires_grad=True)
    assert gf.torch.check_function(torch.fft.rfft, x).ok
    report = gf.torch.check_function(lambda x: {"power": x.abs() ** 2, "turned": x.conj() * x.real}, tensors()[0])
    assert report.ok, str(report)
    assert ("output.turned.imag", "inputs[0].real") in report.seen_from


@pytest.mark.parametrize("dtype", [torch.complex128, torch.complex64])
def test_a_module_with_complex_parameters(dtype):
    torch.manual_seed(0)
    x = torch.randn(5, 3, dtype=dtype)
    module = Layers(FourierLayer, dtype)
    report = gf.torch.gradcheck(module, power, x)
    assert report.ok, str(report)
    assert report.method == "chain"
    power(module(x)).backward()
    np.testing.assert_allclose(report.analytic["W"], module.W.grad.numpy(), rtol=1e-4)
    for options in ({"trace": False}, {"method": "directional"}):
        assert gf.torch.gradcheck(module, power, x, **options).ok
    report = gf.torch.gradcheck(Layers(WithoutConjugate, dtype), power, x)
    assert {array.name for array in report.arrays if array.wrong} == {"W.real", "W.imag"}, str(report)


def test_a_complex_loss_is_named():
    module = nn.Linear(3, 2, dtype=torch.complex128)
    with pytest.raises(TypeError, match=r"one real number, got torch.complex128"):
        gf.torch.gradcheck(module, torch.sum, torch.randn(4, 3, dtype=torch.complex128))
