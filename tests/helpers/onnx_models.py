"""Modules of PyTorch as users write them, which are exported to ONNX; `MODULES` has a function that makes each."""

from __future__ import annotations

import io
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F

MODULES: dict[str, Callable[[], tuple[nn.Module, torch.Tensor]]] = {}


def module(make: Callable[[], tuple[nn.Module, torch.Tensor]]) -> Callable[[], tuple[nn.Module, torch.Tensor]]:
    MODULES[make.__name__] = make
    return make


def made(name: str, dtype: torch.dtype = torch.float64) -> tuple[nn.Module, torch.Tensor]:
    """Returns a module whose parameters and buffers all differ, since exporters merge equal ones, and its input."""
    torch.manual_seed(0)
    found, x = MODULES[name]()
    with torch.no_grad():
        for array in found.parameters():
            array.add_(0.1 * torch.randn(array.shape))
        for array in found.buffers():
            if array.is_floating_point():
                array.mul_(1.0 + 0.2 * torch.rand(array.shape)).add_(0.05)
    return found.to(dtype).eval(), x.to(dtype) if x.is_floating_point() else x


def exported(found: nn.Module, x: torch.Tensor, *, dynamo: bool = False, training: bool = False) -> Any:
    """Exports a module by one of PyTorch's two exporters, so that its parameters keep their names."""
    file, mode = io.BytesIO(), torch.onnx.TrainingMode.TRAINING if training else torch.onnx.TrainingMode.EVAL
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        if dynamo:
            return torch.onnx.export(found, (x,), dynamo=True, optimize=False, verbose=False).model_proto
        torch.onnx.export(found, (x,), file, dynamo=False, do_constant_folding=False, training=mode)
    return file.getvalue()


def cross_entropy(found: nn.Module, x: torch.Tensor) -> tuple[dict[str, np.ndarray], np.ndarray]:
    """Returns autograd's gradient of the mean cross-entropy of the outputs, and the classes that it is of."""
    output = found(x)
    classes = torch.arange(len(output)) % output.shape[1]
    found.zero_grad()
    F.cross_entropy(output, classes).backward()
    return {name: array.grad.numpy().copy() for name, array in found.named_parameters()}, classes.numpy()


class Then(nn.Module):
    """Modules, and what is done with them."""

    def __init__(self, forward: Callable[..., torch.Tensor], **modules: nn.Module) -> None:
        super().__init__()
        self._run = forward
        for name, own in modules.items():
            self.add_module(name, own)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self._run(self, x)


@module
def perceptron():
    return nn.Sequential(nn.Linear(4, 6), nn.Tanh(), nn.Linear(6, 5), nn.Sigmoid(), nn.Linear(5, 3)), torch.randn(6, 4)


@module
def activations():
    layers = [nn.ELU(), nn.SELU(), nn.GELU(), nn.SiLU(), nn.Softplus(), nn.LeakyReLU(0.2), nn.Hardswish(), nn.PReLU(),
              nn.CELU(0.5), nn.Mish(), nn.Hardtanh(), nn.LogSigmoid(), nn.Softsign(), nn.GELU("tanh")]  # fmt: skip
    parts = [part for layer in layers for part in (nn.Linear(4, 4), layer)]
    return nn.Sequential(*parts, nn.Linear(4, 3)), torch.randn(5, 4)


@module
def lenet():
    parts = [nn.Conv2d(1, 6, 5, padding=2), nn.Tanh(), nn.AvgPool2d(2), nn.Conv2d(6, 8, 5), nn.ReLU(), nn.MaxPool2d(2)]
    return nn.Sequential(*parts, nn.Flatten(), nn.Linear(8, 12), nn.Tanh(), nn.Linear(12, 10)), torch.randn(
        4, 1, 12, 12
    )


@module
def residual_block():
    def run(m, x):
        y = F.relu(m.norm1(m.conv1(x)))
        y = F.relu(m.norm2(m.conv2(y)) + m.short(x))
        return m.out(y.mean((2, 3)))

    parts = {"conv1": nn.Conv2d(3, 4, 3, stride=2, padding=1), "norm1": nn.BatchNorm2d(4), "norm2": nn.BatchNorm2d(4)}
    parts |= {"conv2": nn.Conv2d(4, 4, 3, padding=1), "short": nn.Conv2d(3, 4, 1, stride=2), "out": nn.Linear(4, 5)}
    return Then(run, **parts), torch.randn(3, 3, 6, 6)


@module
def depthwise_separable():
    parts = [nn.Conv2d(4, 4, 3, padding=1, groups=4), nn.Conv2d(4, 6, 1), nn.GroupNorm(2, 6), nn.ReLU6()]
    return nn.Sequential(*parts, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(6, 3)), torch.randn(2, 4, 5, 5)


@module
def unet():
    def run(m, x):
        a = F.relu(m.down(x))
        b = F.relu(m.middle(F.max_pool2d(a, 2)))
        return m.out(torch.cat([m.up(b), a], 1)).mean((2, 3))

    parts = {"down": nn.Conv2d(2, 4, 3, padding=1), "middle": nn.Conv2d(4, 6, 3, padding=1)}
    return Then(run, **parts, up=nn.ConvTranspose2d(6, 4, 2, 2), out=nn.Conv2d(8, 3, 1)), torch.randn(2, 2, 6, 6)


@module
def upsampling():
    run = lambda m, x: m.b(F.interpolate(m.a(x), scale_factor=2, mode="bilinear", align_corners=False)).amax((2, 3))
    return Then(run, a=nn.Conv2d(2, 3, 3), b=nn.Conv2d(3, 3, 3)), torch.randn(2, 2, 5, 5)


@module
def dilated_1d():
    parts = [
        nn.Conv1d(2, 4, 3, dilation=2, padding=2, bias=False),
        nn.InstanceNorm1d(4, affine=True),
        nn.GELU(),
        nn.MaxPool1d(2),
    ]
    return nn.Sequential(*parts, nn.Conv1d(4, 3, 2), nn.AdaptiveMaxPool1d(1), nn.Flatten()), torch.randn(2, 2, 8)


@module
def volumes():
    parts = [nn.Conv3d(1, 2, 2), nn.Softplus(), nn.AvgPool3d(2), nn.Flatten(), nn.Linear(2, 3)]
    return nn.Sequential(*parts), torch.randn(3, 1, 3, 3, 3)


@module
def lstm():
    run = lambda m, x: m.out(m.cell(x)[0].mean(1))
    return Then(run, cell=nn.LSTM(3, 4, bidirectional=True, batch_first=True), out=nn.Linear(8, 3)), torch.randn(
        2, 4, 3
    )


@module
def gru():
    run = lambda m, x: m.out(m.cell(x)[0].mean(1))
    return Then(run, cell=nn.GRU(3, 4, 2, batch_first=True), out=nn.Linear(4, 3)), torch.randn(2, 4, 3)


@module
def elman():
    run = lambda m, x: m.out(m.cell(x)[1][0])
    return Then(run, cell=nn.RNN(3, 4, nonlinearity="relu", batch_first=True), out=nn.Linear(4, 3)), torch.randn(
        2, 4, 3
    )


@module
def transformer_block():
    run = lambda m, x: m.out(m.block(x).mean(1))
    block = nn.TransformerEncoderLayer(8, 2, 16, dropout=0.0, activation="gelu", batch_first=True)
    return Then(run, block=block, out=nn.Linear(8, 3)), torch.randn(2, 4, 8)


@module
def language_model():
    def run(m, tokens):
        x = m.tokens(tokens) + m.places.weight[: tokens.shape[1]]
        q, k, v = m.qkv(m.norm(x)).chunk(3, -1)
        x = x + F.scaled_dot_product_attention(q[:, None], k[:, None], v[:, None], is_causal=True)[:, 0]
        return m.out(x)[:, -1]

    parts = {"tokens": nn.Embedding(7, 4), "places": nn.Embedding(6, 4), "norm": nn.LayerNorm(4)}
    return Then(run, **parts, qkv=nn.Linear(4, 12), out=nn.Linear(4, 5)), torch.randint(0, 7, (3, 5))


@module
def gated():
    def run(m, x):
        a = F.glu(m.a(x))
        return m.b(a / a.pow(2).mean(-1, keepdim=True).add(0.125).sqrt() * F.softmax(a, -1))

    return Then(run, a=nn.Linear(3, 8), b=nn.Linear(4, 3)), torch.randn(4, 3)


@module
def factorisation():
    def run(m, x):
        v = m.v(x)
        both = torch.einsum("ni,nj->nij", v, v)
        return torch.stack([both.sum((1, 2)), torch.logsumexp(v, 1), v.norm(dim=1), v.abs().max(1).values], 1)

    return Then(run, v=nn.Linear(3, 4)), torch.randn(4, 3)
