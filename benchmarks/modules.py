"""PyTorch modules that `peers.py` checks through `gf.torch`, beside PyTorch's pass and loops over parameters.

"pass" is PyTorch's forward and backward, in float64. "check" is `gf.torch.gradcheck`; "trace" is what of it goes into
the trace of the module, its comparison with the module included; "chain" is one gradient from that, without its
certificate. The loops perturb every parameter: two calls of the module, `torch.func.vmap` over rows of parameters, and
a jitted `jax.lax.map` of the same function (`in_jax.py`). They are timed for some parameters and scaled to all.
"""

from functools import partial
from statistics import median

import numpy as np
import torch
import torch.nn.functional as F
from common import median_time
from loops import EPSILON, jax_slopes, sampled
from torch import nn

import gradcheck_fast as gf
from gradcheck_fast.adapters.torch.copies import array_of
from gradcheck_fast.adapters.torch.module import ModuleCase
from gradcheck_fast.adapters.torch.runs import one_thread_for
from gradcheck_fast.checks.options import Options

ROUNDS = 5


class LeNet(nn.Sequential):
    """The network of 1998, with 44,426 parameters."""

    def __init__(self):
        super().__init__(
            nn.Conv2d(1, 6, 5), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(6, 16, 5), nn.ReLU(), nn.MaxPool2d(2),
            nn.Flatten(), nn.Linear(256, 120), nn.ReLU(), nn.Linear(120, 84), nn.ReLU(), nn.Linear(84, 10),
        )  # fmt: skip

    data = staticmethod(lambda: (torch.randn(16, 1, 28, 28), torch.randint(0, 10, (16,))))


class Block(nn.Module):
    def __init__(self, inputs, outputs, stride):
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False), nn.BatchNorm2d(outputs)
        self.conv2, self.bn2 = nn.Conv2d(outputs, outputs, 3, 1, 1, bias=False), nn.BatchNorm2d(outputs)
        self.stride, self.more = stride, outputs - inputs

    def forward(self, x):
        y = self.bn2(self.conv2(F.relu(self.bn1(self.conv1(x)))))
        short = F.pad(x[:, :, :: self.stride, :: self.stride], (0, 0, 0, 0, self.more // 2, self.more // 2))
        return F.relu(y + short)


class ResNet20(nn.Sequential):
    """The one of CIFAR-10, with 269,722 parameters."""

    def __init__(self):
        widths = [16] * 3 + [32] * 3 + [64] * 3
        blocks = [
            Block(before, after, 1 + (before != after)) for before, after in zip([16, *widths], widths, strict=False)
        ]
        super().__init__(
            nn.Conv2d(3, 16, 3, 1, 1, bias=False), nn.BatchNorm2d(16), nn.ReLU(), *blocks, nn.AdaptiveAvgPool2d(1),
            nn.Flatten(), nn.Linear(64, 10),
        )  # fmt: skip

    data = staticmethod(lambda: (torch.randn(4, 3, 32, 32), torch.randint(0, 10, (4,))))


class GPT(nn.Module):
    """Two blocks of a transformer on characters, with about 110,000 parameters."""

    def __init__(self, vocabulary=65, width=64, heads=4, length=32):
        super().__init__()
        self.token, self.position = nn.Embedding(vocabulary, width), nn.Parameter(0.02 * torch.randn(length, width))
        layer = nn.TransformerEncoderLayer(width, heads, 4 * width, 0.0, "gelu", batch_first=True, norm_first=True)
        self.blocks = nn.TransformerEncoder(layer, 2, nn.LayerNorm(width), enable_nested_tensor=False)
        self.head = nn.Linear(width, vocabulary)

    def forward(self, x):
        mask = nn.Transformer.generate_square_subsequent_mask(x.shape[1], dtype=torch.float64)
        return self.head(self.blocks(self.token(x) + self.position, mask, is_causal=True)).transpose(1, 2)

    data = staticmethod(lambda: (torch.randint(0, 65, (8, 32)), torch.randint(0, 65, (8, 32))))


class LSTM(nn.Module):
    """An LSTM with dropout between its two layers, 50 times."""

    def __init__(self):
        super().__init__()
        self.lstm, self.head = nn.LSTM(32, 64, 2, batch_first=True, dropout=0.2), nn.Linear(64, 10)

    def forward(self, x):
        return self.head(self.lstm(x)[0][:, -1])

    data = staticmethod(lambda: (torch.randn(16, 50, 32), torch.randint(0, 10, (16,))))


MODULES = {kind.__name__: kind for kind in (LeNet, GPT, LSTM, ResNet20)}


def flat_cost(module, X, y):
    """The loss as a function of all parameters in one vector, and that vector."""
    named = {name: parameter.detach() for name, parameter in module.named_parameters()}
    sizes = [parameter.numel() for parameter in named.values()]

    def cost(flat):
        parts = flat.split(sizes)
        arrays = {name: part.view(own.shape) for part, (name, own) in zip(parts, named.items(), strict=True)}
        return F.cross_entropy(torch.func.functional_call(module, arrays, (X,)), y)

    return cost, torch.cat([parameter.flatten() for parameter in named.values()])


def calls_loop(module, X, y):
    """Two calls of the module for each parameter."""
    entries = [(p, k) for p in module.parameters() for k in range(p.numel())]

    @torch.no_grad()
    def run(indices):
        for n in indices:
            parameter, k = entries[n]
            numbers, costs = parameter.view(-1), []
            saved = numbers[k].item()
            for moved in (saved + EPSILON, saved - EPSILON):
                numbers[k] = moved
                costs.append(F.cross_entropy(module(X), y).item())
            numbers[k] = saved

    return run


def vmap_loop(module, X, y, at_once=16):
    """`torch.func.vmap` over rows of parameters."""
    cost, flat = flat_cost(module, X, y)
    costs = torch.func.vmap(cost, randomness="same")

    @torch.no_grad()
    def run(indices):
        for begin in range(0, len(indices), at_once):
            some = torch.as_tensor(np.asarray(indices[begin : begin + at_once]))
            moved = torch.zeros(len(some), len(flat)).scatter_(1, some[:, None], EPSILON)
            (costs(flat + moved) - costs(flat - moved)) / (2 * EPSILON)

    return run


def jax_loop(module, X, y):
    """A jitted `jax.lax.map` over parameters."""
    import in_jax
    import jax
    from jax import numpy as jnp

    jax.config.update("jax_enable_x64", True)
    shapes = [tuple(parameter.shape) for parameter in module.parameters()]
    ends = np.cumsum([np.prod(shape) for shape in shapes])[:-1]
    function, data = getattr(in_jax, type(module).__name__.lower()), [jnp.asarray(part.numpy()) for part in (X, y)]

    def cost(flat):
        parts = jnp.split(flat, ends)
        arrays = [part.reshape(shape) for part, shape in zip(parts, shapes, strict=True)]
        return function(arrays, *data)

    return jax_slopes(cost, flat_cost(module, X, y)[1].numpy(), at_once=64)


def ours(module, X, y, threads):
    """What is timed of ours and of PyTorch's pass, by name, and the loss that was traced."""
    loss_fn = nn.CrossEntropyLoss()
    case = ModuleCase(module, loss_fn, (X,), y)
    at = {name: array_of(tensor) for name, tensor in case.parameters.items()}
    found, settings = case.found(at), Options(n_threads=threads)
    traced = case.traced(at, case.runner_in_double(found), settings)
    theta = traced.pack(at).flat

    def one_pass():
        module.zero_grad()
        loss_fn(module(X), y).backward()

    def chain():
        with traced.engine.at(theta, threads) as point:
            point.cost()
            point.gradient()

    def trace():
        with one_thread_for(found.numbers):  # as the check has it
            case.traced(at, case.runner_in_double(found), settings)

    check = partial(gf.torch.gradcheck, module, loss_fn, X, y, n_threads=threads)
    report = check()
    assert report.ok and report.certificate.holds, report
    return {
        "pass": one_pass, "trace": trace, "chain": chain, "check": check,
    }, traced, at  # fmt: skip


def compare_module(kind, given):
    """A row: the medians of some rounds, and the loops scaled to all parameters."""
    torch.set_num_threads(given.threads)
    torch.manual_seed(0)
    torch.set_default_dtype(torch.float64)
    module = kind()
    X, y = kind.data()
    size = sum(parameter.numel() for parameter in module.parameters())
    timed, traced, at = ours(module, X, y, given.threads)
    rounds = [{name: median_time(function, 3) for name, function in timed.items()} for _ in range(ROUNDS)]
    seconds = {name: median(times[name] for times in rounds) for name in timed}
    beyond = median(times["check"] - times["trace"] for times in rounds)
    scaled = {}
    for name, make in {"calls": calls_loop, "vmap": vmap_loop, "JAX": jax_loop}.items():
        try:
            scaled[name], _ = sampled(size, given.seconds, make(module, X, y))
        except (ImportError, RuntimeError) as error:
            print(f"skipped: {name} of {kind.__name__} ({str(error).splitlines()[0]})")
    perturbed = {}
    if kind is LeNet:
        incremental = partial(gf.numerical_gradient, traced, at, method="incremental", n_threads=given.threads)
        perturbed["incremental"] = median_time(incremental, 3)
    return (
        {"module": kind.__name__, "parameters": f"{size:,}"}
        | {f"{name}, ms": f"{1e3 * time:.1f}" for name, time in seconds.items()}
        | {"check beyond trace, ms": f"{1e3 * beyond:.1f}", "chain / pass": f"{seconds['chain'] / seconds['pass']:.2f}"}
        | {f"{name} loop, s": f"{scaled[name]:.3g}" if name in scaled else "" for name in ("calls", "vmap", "JAX")}
        | {"calls loop / check": f"{scaled['calls'] / seconds['check']:,.0f}"}
        | {"incremental, s": f"{perturbed['incremental']:.3g}" if perturbed else ""}
        | {"calls loop / incremental": f"{scaled['calls'] / perturbed['incremental']:.0f}" if perturbed else ""}
    )
