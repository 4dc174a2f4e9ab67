"""Calls of PyTorch's functions of complex tensors: together they need every operator that a trace knows for these.

Each is a function of one real tensor, with the shape of that, and returns a real one.
"""

from __future__ import annotations

import torch
from torch import fft
from torch.nn import functional

PAIR = (2, 3, 6)
COMPLEX = torch.complex128


def z_of(y):
    """The complex tensor whose parts are those of y along the first axis."""
    return torch.complex(y[0], y[1])


def of_complex(function):
    """A function of a complex tensor as one of a real tensor."""

    def called(y):
        found = function(z_of(y))
        return torch.view_as_real(found.resolve_conj()) if found.is_complex() else found

    return called


def written(z):
    out = torch.zeros(5, 6, dtype=COMPLEX)
    out[0] = z[0]
    out[1] = out[0].conj()
    out[2].real.copy_(z[1].imag)
    out[2].imag.add_(z[1].real * 2.0)
    out[3] = z[0].real
    out[1].mul_(2j)
    out.conj()[3] = z[2]
    out[4].fill_(z[0, 0]).div_(2.0)
    out[0].conj().imag.mul_(3.0)
    torch.view_as_real(out)[:, 5, 1] = z[0, :5].real
    out[2, 3:].zero_()
    return out * out


def moved(z):
    mask = z.real > 0.0
    places = torch.tensor([[0, 2], [1, 1], [5, 0]])
    parts = [
        z.flip(0) + z.roll(1, 1) + torch.rot90(z, 2) + z.tril() + z.triu(1) + z.repeat(2, 1)[1:4] + z.clone(),
        z.masked_fill(mask, 2.0) + torch.where(mask, z, z[0]) + z.index_fill(1, torch.tensor([1, 4]), 0.5),
        z.gather(1, places), z.take(places), z[[0, 2, 2]][:, 1:3], z[mask][:3, None], z.index_select(1, places[0]),
        z.index_add(0, torch.tensor([1, 1, 2]), z * 1j), z.index_copy(0, torch.tensor([2]), z[:1] * 3j),
        z.index_put((torch.tensor([0, 0]),), z[:2], accumulate=True), z.masked_scatter(mask, z.flip(1)),
        torch.zeros_like(z).scatter(1, places[[0, 2, 2]], z[:, :2]),
        torch.zeros_like(z).scatter(1, places, 1.5 - 1j) * z,
        torch.zeros_like(z).scatter_add(1, places * 0, z[:, :2]), torch.diag_embed(z[:, 0]),
        z.masked_select(mask)[:3, None],
        functional.pad(z, (1, 2), value=1.0), torch.stack([z[:, 0], z[:, 1].conj()], 1),
        functional.pad(z, (1, 2), mode="reflect"), functional.pad(z, (1, 2), mode="replicate"),
        functional.pad(z[None], (1, 2, 1, 1), mode="reflect")[0, :3],
        functional.pad(z[None], (1, 2, 1, 1), mode="replicate")[0, :3],
    ]  # fmt: skip
    return torch.cat([*parts, z.real], 1) * (z.sum() + z.mean() + z[:, :3].trace() + z.cumsum(1)[0, 3] + (z == z).sum())


def arithmetic(z):
    other = z.flip(1) + 2.0
    return torch.stack(
        [
            (z + 1j) * other / (z * z + 3.0) - z.conj() * 3j + z.real * 1j - 2 * z + (1j - z) + z / 2.0,
            torch.addcmul(z, z, other, value=2)
            + torch.addcdiv(z, z, other)
            + z.lerp(other, 0.3)
            + z.mul(1.0).conj_physical_(),
            z.imag.to(COMPLEX) + torch.sub(z, other, alpha=2) + torch.rsub(z, other),
            -z + z.reciprocal() + z**3 + z**-2 + z**0.5 + 2.0**z + z.square() + z.sgn() * (z != other),
        ]
    )


def functions(z):
    names = (
        "exp",
        "log",
        "sqrt",
        "sin",
        "cos",
        "sinh",
        "cosh",
        "tanh",
        "sigmoid",
        "tan",
        "expm1",
        "log1p",
        "log2",
        "log10",
        "rsqrt",
    )
    return torch.stack([getattr(z, name)() for name in names])


def sizes(z):
    norms = z.norm() + torch.linalg.vector_norm(z, 1) + torch.linalg.vector_norm(z, 3, 1).sum()
    return z.abs() + z.angle() + z.conj().imag + norms + z.std() + z.var(1).sum() + z.var()


def products(z):
    matrices = torch.stack([z, z * 1j])
    return (
        z @ z.mH + torch.einsum("ij,kj->ik", z, z.conj()) + torch.addmm(z[:, :3], z, z.T, beta=2, alpha=1j)
        + torch.bmm(matrices, matrices.mT)[1] + torch.baddbmm(matrices[:, :, :3], matrices, matrices.mT)[0]
        + torch.vdot(z[0], z[1]) + torch.dot(z[0], z[1].conj()) + z @ z[0] + torch.addmv(z[:, 0], z, z[1])
        + z.prod(1) + z[0].prod() + torch.kron(z[:1, :1], z[:, :3])
    )  # fmt: skip


def solved(z):
    a = z[:, :3] + 3.0 * torch.eye(3, dtype=COMPLEX)
    return torch.linalg.solve(a, z[:, 0])[:, None] + torch.linalg.inv(a) @ z + torch.linalg.solve(a, z[:, 3:])[:, :1]


def transformed(z):
    return (
        fft.fft(z) + fft.ifft(z, norm="ortho") + fft.fftn(z) + fft.ifft2(z, norm="forward") + fft.fft(z.real)
        + fft.fftshift(fft.rfft(z.real, 10)) + fft.irfft(z) [:, :6] + fft.irfft(z, 7)[:, :6] + fft.irfft(z, 14)[:, :6]
        + fft.irfft2(fft.rfft2(z.imag) * (1 + 2j)) + fft.hfft(fft.ihfft(z.real), 6)
    )  # fmt: skip


def of_long_signals(z):
    signal = z.reshape(-1).repeat(16)[:271] * torch.linspace(0.5, 1.0, 271)
    fast = fft.irfft(fft.rfft(signal.real) * fft.rfft(signal.imag), 271) + fft.ifft(fft.fft(signal).conj())
    return fast + fft.irfft(fft.rfft(signal.real, 272), 272)[:271]


def short_time(z):
    window = torch.hann_window(8, dtype=torch.float64)
    found = torch.stft(z.real.reshape(-1), 8, 2, window=window, return_complex=True)
    return torch.istft(found * found, 8, 2, window=window) + found.abs().sum()


def rotated(y):
    """Rotary positions as those who use complex numbers write them."""
    turns = torch.polar(
        torch.ones(3, 6, dtype=torch.float64), torch.outer(torch.arange(3.0), torch.arange(6.0)).double()
    )
    turned = torch.view_as_complex(y.reshape(3, 6, 2)) * turns * torch.polar(y[0].exp(), y[1])
    return torch.view_as_real(turned).flatten(1)


def with_inner_gradient(y):
    with torch.enable_grad():
        y = y if y.requires_grad else y.clone().requires_grad_()
        z = z_of(y)
        size = (z[0] * z[1:, 2:].sum() * z.unfold(1, 2, 2).sum()).abs().square().sum()
        return torch.autograd.grad(size, y, create_graph=True)[0]


OF_COMPLEX = {
    **{
        f"complex: {function.__name__.replace('_', ' ')}": (of_complex(function), PAIR)
        for function in (
            written, moved, arithmetic, functions, sizes, products, solved, transformed, of_long_signals, short_time,
        )
    },
    "complex: convolution": (of_complex(lambda z: functional.conv1d(z, z[:2, None, :2].expand(2, 3, 2))), PAIR),
    "complex: rotary": (rotated, PAIR),
    "gradient of complex": (with_inner_gradient, PAIR),
}  # fmt: skip
