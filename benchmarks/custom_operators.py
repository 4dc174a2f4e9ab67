"""Operators with a backward of their own: `gf.torch.check_function` beside `torch.autograd.gradcheck`.

    python benchmarks/custom_operators.py [--largest 100000] [--operator layer_norm] [--rounds 3]

Each operator is a `torch.autograd.Function` in float64 with 1,000 to 100,000 inputs. "every entry" is `check_function`
with all entries compared; "directions" is that with ``method="directional"``, and the size from which on an error of an
input is seen. "slow" and "fast" are the two modes of `torch.autograd.gradcheck`; the slow one is timed up to 5,000
inputs, for it grows with their square. The aspects (forward mode, strides and so on) are left out of both, and have a
column of their own. Times are medians of CPU seconds of this process, after one call that is not counted.
"""

import argparse
import time
from functools import partial
from statistics import median

import torch

import gradcheck_fast as gf

SLOW_UP_TO = 5_000


def operator(forward, backward):
    """Makes a `torch.autograd.Function` that saves its inputs: of tensors alone, and with a backward of its own."""

    class Operator(torch.autograd.Function):
        @staticmethod
        def forward(ctx, *inputs):
            ctx.save_for_backward(*inputs)
            return forward(*inputs)

        @staticmethod
        def backward(ctx, grad):
            return backward(grad, *ctx.saved_tensors)

    return Operator


def layer_norm_back(grad, x, w, b):
    mean, inverse = x.mean(-1, keepdim=True), (x.var(-1, correction=0, keepdim=True) + 1e-5).rsqrt()
    y = (x - mean) * inverse
    scaled = grad * w
    of_x = inverse * (scaled - scaled.mean(-1, keepdim=True) - y * (scaled * y).mean(-1, keepdim=True))
    return of_x, (grad * y).sum(0), grad.sum(0)


def rms_norm(x, w):
    return x * (x.square().mean(-1, keepdim=True) + 1e-6).rsqrt() * w


def rms_norm_back(grad, x, w):
    inverse = (x.square().mean(-1, keepdim=True) + 1e-6).rsqrt()
    y, scaled = x * inverse, grad * w
    return inverse * (scaled - y * (scaled * y).mean(-1, keepdim=True)), (grad * y).sum(0)


def softmax_back(grad, x):
    y = x.softmax(-1)
    return y * (grad - (grad * y).sum(-1, keepdim=True))


def attention(q, k, v):
    return (q @ k.mT / q.shape[-1] ** 0.5).softmax(-1) @ v


def attention_back(grad, q, k, v):
    scale = q.shape[-1] ** -0.5
    weights = (q @ k.mT * scale).softmax(-1)
    of_weights = grad @ v.mT
    of_scores = weights * (of_weights - (of_weights * weights).sum(-1, keepdim=True)) * scale
    return of_scores @ k, of_scores.mT @ q, weights.mT @ grad


def gelu_back(grad, x):
    return grad * (0.5 * (1 + torch.erf(x / 2**0.5)) + x * torch.exp(-x * x / 2) / (2 * torch.pi) ** 0.5)


def swiglu(x, g):
    return x * torch.nn.functional.silu(g)


def swiglu_back(grad, x, g):
    s = torch.sigmoid(g)
    return grad * g * s, grad * x * s * (1 + g * (1 - s))


def conv_back(grad, x, w):
    return torch.nn.grad.conv2d_input(x.shape, w, grad, padding=1), torch.nn.grad.conv2d_weight(
        x, w.shape, grad, padding=1
    )


def logsumexp_back(grad, x):
    return grad.unsqueeze(-1) * x.softmax(-1)


def huber(x, y):
    d = x - y
    return torch.where(d.abs() < 1, d * d / 2, d.abs() - 0.5).sum(-1)


def huber_back(grad, x, y):
    slope = grad.unsqueeze(-1) * (x - y).clamp(-1, 1)
    return slope, -slope


def cosine(x, y):
    return (x * y).sum(-1) / (x.norm(dim=-1) * y.norm(dim=-1))


def cosine_back(grad, x, y):
    nx, ny = x.norm(dim=-1, keepdim=True), y.norm(dim=-1, keepdim=True)
    c, g = (x * y).sum(-1, keepdim=True) / (nx * ny), grad.unsqueeze(-1)
    return g * (y / (nx * ny) - c * x / nx**2), g * (x / (nx * ny) - c * y / ny**2)


def rotary(x):
    half = x.shape[-1] // 2
    angle = torch.arange(x.shape[0], dtype=x.dtype)[:, None] * 0.1 ** torch.arange(half, dtype=x.dtype)
    a, b = x[..., :half], x[..., half:]
    return torch.cat([a * angle.cos() - b * angle.sin(), a * angle.sin() + b * angle.cos()], -1)


def rotary_back(grad, x):
    half = x.shape[-1] // 2
    angle = torch.arange(x.shape[0], dtype=x.dtype)[:, None] * 0.1 ** torch.arange(half, dtype=x.dtype)
    a, b = grad[..., :half], grad[..., half:]
    return torch.cat([a * angle.cos() + b * angle.sin(), b * angle.cos() - a * angle.sin()], -1)


def scan(x, a):
    h, out = torch.zeros_like(x[0]), []
    for row in x:
        h = a * h + row
        out.append(h)
    return torch.stack(out)


def scan_back(grad, x, a):
    out, back, of_x, of_a = scan(x, a), torch.zeros_like(x[0]), [], torch.zeros_like(a)
    for t in range(len(x) - 1, -1, -1):
        back = grad[t] + back * a
        of_x.append(back)
        of_a = of_a + (back * out[t - 1] if t else 0.0)
    return torch.stack(of_x[::-1]), of_a


#: The forward, the backward, and the shapes of the inputs.
OPERATORS = {
    "square": (torch.square, lambda g, x: 2 * g * x, [(1_000,)]),
    "softplus": (lambda x: torch.log1p(x.exp()), lambda g, x: g * torch.sigmoid(x), [(2_000,)]),
    "softmax": (lambda x: x.softmax(-1), softmax_back, [(50, 20)]),
    "logsumexp": (lambda x: x.logsumexp(-1), logsumexp_back, [(100, 20)]),
    "attention": (attention, attention_back, [(32, 16)] * 3),
    "layer_norm": (lambda x, w, b: torch.nn.functional.layer_norm(x, (64,), w, b), layer_norm_back,
                   [(32, 64), (64,), (64,)]),
    "rms_norm": (rms_norm, rms_norm_back, [(32, 64), (64,)]),
    "huber": (huber, huber_back, [(50, 25)] * 2),
    "cosine": (cosine, cosine_back, [(40, 32)] * 2),
    "scan": (scan, scan_back, [(20, 64), (64,)]),
    "matmul": (torch.matmul, lambda g, a, b: (g @ b.mT, a.mT @ g), [(50, 40), (40, 50)]),
    "conv2d": (lambda x, w: torch.nn.functional.conv2d(x, w, padding=1), conv_back, [(2, 4, 16, 16), (8, 4, 3, 3)]),
    "gelu": (torch.nn.functional.gelu, gelu_back, [(10_000,)]),
    "swiglu": (swiglu, swiglu_back, [(100, 100)] * 2),
    "rotary": (rotary, rotary_back, [(200, 64)]),
    "large softmax": (lambda x: x.softmax(-1), softmax_back, [(400, 100)]),
    "large layer_norm": (lambda x, w, b: torch.nn.functional.layer_norm(x, (256,), w, b), layer_norm_back,
                         [(200, 256), (256,), (256,)]),
    "large attention": (attention, attention_back, [(4, 128, 64)] * 3),
    "large matmul": (torch.matmul, lambda g, a, b: (g @ b.mT, a.mT @ g), [(200, 250), (250, 200)]),
    "large gelu": (torch.nn.functional.gelu, gelu_back, [(100_000,)]),
}  # fmt: skip


def seconds(run, rounds):
    """The median of the CPU seconds of some calls, after one that is not counted."""
    run()
    found = []
    for _ in range(rounds):
        begin = time.process_time()
        run()
        found.append(time.process_time() - begin)
    return median(found)


def row(name, rounds):
    """The number of inputs, and the seconds of each check."""
    forward, backward, shapes = OPERATORS[name]
    torch.manual_seed(0)
    function = operator(forward, backward)
    inputs = tuple(torch.randn(shape, dtype=torch.float64, requires_grad=True) for shape in shapes)
    size = sum(x.numel() for x in inputs)
    ours = partial(gf.torch.check_function, function, inputs)
    alone = partial(ours, skip=gf.torch.ASPECTS)
    along = partial(alone, method="directional")
    theirs = partial(torch.autograd.gradcheck, function.apply, inputs)
    report, directed = ours(), along()
    assert report.ok and report.method == "chain", report
    assert directed.ok, directed
    found = {
        "every entry": seconds(alone, rounds), "with aspects": seconds(ours, rounds),
        "directions": seconds(along, rounds), "fast": seconds(partial(theirs, fast_mode=True), rounds),
        "slow": seconds(theirs, 1) if size <= SLOW_UP_TO else float("nan"),
    }  # fmt: skip
    return size, found, max(array.power for array in directed.arrays)


def main():
    """Prints a row for each operator."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--largest", type=int, default=100_000, help="the most inputs that an operator may have")
    parser.add_argument("--operator", choices=OPERATORS, help="one operator alone")
    parser.add_argument("--rounds", type=int, default=3)
    given = parser.parse_args()
    torch.set_num_threads(1)
    columns = ("every entry", "with aspects", "directions", "fast", "slow")
    print(f"{'operator':18}{'inputs':>9}" + "".join(f"{column + ' ms':>17}" for column in columns)
          + f"{'slow/every':>12}{'fast/dir.':>11}{'seen from':>11}")  # fmt: skip
    for name in [given.operator] if given.operator else OPERATORS:
        size, found, power = row(name, given.rounds)
        if size <= given.largest:
            times = "".join(f"{1e3 * found[column]:17.1f}" for column in columns)
            ratios = found["slow"] / found["every entry"], found["fast"] / found["directions"]
            print(f"{name:18}{size:9,}{times}{ratios[0]:12.1f}{ratios[1]:11.2f}{power:11.1e}", flush=True)


if __name__ == "__main__":
    main()
