"""Operators of PyTorch that gather, scatter, transform, quantise, or have several outputs."""

import torch

import gradcheck_fast as gf

from .registry import operator
from .torch_fused import randn


@operator("torch", "repeated indices are overwritten", "the mean is not divided")
def embedding_bag(mistake):
    places, bags = torch.tensor([1, 4, 4, 0, 2, 4]), torch.tensor([0, 0, 0, 1, 1, 2])

    class EmbeddingBag(torch.autograd.Function):
        @staticmethod
        def forward(ctx, table):
            ctx.size = table.shape
            counts = torch.bincount(bags).to(table)[:, None]
            return torch.zeros(3, table.shape[1], dtype=table.dtype).index_add(0, bags, table[places]) / counts

        @staticmethod
        def backward(ctx, v):
            counts = torch.bincount(bags).to(v)[:, None]
            rows = (v if mistake == "the mean is not divided" else v / counts)[bags]
            found = v.new_zeros(ctx.size)
            if mistake == "repeated indices are overwritten":
                found[places] = rows
                return found
            return found.index_add(0, places, rows)

    return gf.torch.check_function(EmbeddingBag, randn(5, 3))


@operator("torch", "the filter is not conjugated")
def spectral_filter(mistake):
    """irfft(rfft(x) W), with complex weights."""

    class SpectralFilter(torch.autograd.Function):
        @staticmethod
        def forward(ctx, x, weight):
            ctx.save_for_backward(x, weight)
            return torch.fft.irfft(torch.fft.rfft(x) * weight, n=x.shape[-1])

        @staticmethod
        def backward(ctx, v):
            x, weight = ctx.saved_tensors
            n = x.shape[-1]
            into = weight if mistake else weight.conj()
            dx = torch.fft.irfft(torch.fft.rfft(v) * into, n=n)
            twice = torch.full((n // 2 + 1,), 2.0, dtype=x.dtype)
            twice[0] = twice[-1] = 1.0
            dw = (torch.fft.rfft(v) * torch.fft.rfft(x).conj()).sum(0) * twice / n
            real = torch.tensor([1.0 if k in (0, n // 2) else 0.0 for k in range(n // 2 + 1)], dtype=x.dtype)
            return dx, torch.complex(dw.real, dw.imag * (1.0 - real))

    weight = torch.complex(randn(5, seed=1).detach(), randn(5, seed=2).detach()).requires_grad_()
    return gf.torch.check_function(SpectralFilter, (randn(2, 8), weight))


@operator("torch", "the matrix is not transposed")
def sparse_times_dense(mistake):
    rows, columns = torch.tensor([0, 0, 1, 2, 2, 3]), torch.tensor([1, 3, 0, 2, 3, 1])

    class SparseProduct(torch.autograd.Function):
        @staticmethod
        def forward(ctx, values, dense):
            ctx.save_for_backward(values, dense)
            return torch.zeros(4, dense.shape[1], dtype=dense.dtype).index_add(
                0, rows, values[:, None] * dense[columns]
            )

        @staticmethod
        def backward(ctx, v):
            values, dense = ctx.saved_tensors
            into, out = (columns, rows) if mistake else (rows, columns)
            found = torch.zeros_like(dense).index_add(0, out, values[:, None] * v[into])
            return (v[rows] * dense[columns]).sum(-1), found

    return gf.torch.check_function(SparseProduct, (randn(6), randn(4, 2, seed=1)))


@operator("torch", "the counts are forgotten")
def scatter_mean(mistake):
    """The mean over the neighbours in a graph."""
    source, target = torch.tensor([0, 1, 2, 3, 1]), torch.tensor([1, 0, 1, 2, 2])

    class ScatterMean(torch.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            counts = torch.bincount(target, minlength=len(x)).clamp(min=1).to(x)[:, None]
            return torch.zeros_like(x).index_add(0, target, x[source]) / counts

        @staticmethod
        def backward(ctx, v):
            counts = torch.bincount(target, minlength=len(v)).clamp(min=1).to(v)[:, None]
            given = v if mistake else v / counts
            return torch.zeros_like(v).index_add(0, source, given[target])

    return gf.torch.check_function(ScatterMean, randn(4, 3))


@operator("torch", "the places get no gradient")
def linear_interpolation(mistake):
    """Samples of rows at fractional places."""

    class Interpolate(torch.autograd.Function):
        @staticmethod
        def forward(ctx, x, places):
            low = places.detach().floor().long().clamp(0, x.shape[-1] - 2)
            part = places - low
            ctx.save_for_backward(x, low, part)
            return x[..., low] * (1.0 - part) + x[..., low + 1] * part

        @staticmethod
        def backward(ctx, v):
            x, low, part = ctx.saved_tensors
            found = torch.zeros_like(x).index_add(-1, low, v * (1.0 - part)).index_add(-1, low + 1, v * part)
            along = (v * (x[..., low + 1] - x[..., low])).sum(0)
            return found, torch.zeros_like(along) if mistake else along

    places = torch.tensor([0.25, 1.5, 3.75], dtype=torch.float64).requires_grad_()
    return gf.torch.check_function(Interpolate, (randn(2, 6), places))


@operator("torch", "straight through")
def fake_quantisation(mistake):
    """Rounding to a grid. The right backward is zero; training passes the gradient straight through."""

    class Quantise(torch.autograd.Function):
        @staticmethod
        def forward(ctx, x, scale):
            ctx.save_for_backward(x, scale)
            return scale * torch.round(x / scale)

        @staticmethod
        def backward(ctx, v):
            x, scale = ctx.saved_tensors
            return (v if mistake else torch.zeros_like(v)), (v * torch.round(x / scale)).sum().reshape(1)

    return gf.torch.check_function(Quantise, (randn(6), torch.tensor([0.3], dtype=torch.float64, requires_grad=True)))


@operator("torch", "the second output has no gradient")
def mean_and_spread(mistake):
    """Two outputs: the mean and the standard deviation."""

    class Moments(torch.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            mean, spread = x.mean(-1), x.std(-1)
            ctx.save_for_backward(x, mean, spread)
            return mean, spread

        @staticmethod
        def backward(ctx, v, w):
            x, mean, spread = ctx.saved_tensors
            n = x.shape[-1]
            found = v[:, None] / n
            if mistake is None:
                found = found + w[:, None] * (x - mean[:, None]) / ((n - 1) * spread[:, None])
            return found.expand_as(x)

    return gf.torch.check_function(Moments, randn(3, 5))


@operator("torch", "the triangle is not halved")
def cholesky_solve(mistake):
    """x = A⁻¹ b of a positive definite A, by an implicit derivative."""

    class Solve(torch.autograd.Function):
        @staticmethod
        def forward(ctx, a, b):
            x = torch.cholesky_solve(b, torch.linalg.cholesky(a @ a.mT + torch.eye(len(a), dtype=a.dtype)))
            ctx.save_for_backward(a, x)
            return x

        @staticmethod
        def backward(ctx, v):
            a, x = ctx.saved_tensors
            db = torch.linalg.solve(a @ a.mT + torch.eye(len(a), dtype=a.dtype), v)
            dm = -db @ x.mT
            return (2.0 * dm @ a if mistake else (dm + dm.mT) @ a), db

    return gf.torch.check_function(Solve, (randn(3, 3), randn(3, 2, seed=1)))


@operator("torch", "the last sample alone")
def checkpointed_block(mistake):
    """A block that keeps its input alone, and recomputes the rest on the way back."""

    class Block(torch.autograd.Function):
        @staticmethod
        def forward(ctx, x, w1, w2):
            ctx.save_for_backward(x, w1, w2)
            return x + torch.tanh(x @ w1) @ w2

        @staticmethod
        def backward(ctx, v):
            x, w1, w2 = (t.detach().requires_grad_() for t in ctx.saved_tensors)
            with torch.enable_grad():
                out = x + torch.tanh(x @ w1) @ w2
            dx, d1, d2 = torch.autograd.grad(out, (x, w1, w2), v)
            if mistake:
                d2 = torch.outer(torch.tanh(x @ w1)[-1], v[-1]).detach()
            return dx, d1, d2

    return gf.torch.check_function(Block, (randn(4, 3), randn(3, 5, seed=1), randn(5, 3, seed=2)))
