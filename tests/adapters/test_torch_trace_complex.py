"""gf.torch: modules that compute with complex tensors, whose parts share memory as PyTorch's do."""

from __future__ import annotations

import numpy as np
import pytest
from torch_data import data

import gradcheck_fast as gf
from gradcheck_fast.adapters.common import TRACED
from gradcheck_fast.frontends.graphs.replay import replayed
from gradcheck_fast.frontends.operators.complex_numbers import ComplexArray
from gradcheck_fast.frontends.torch_trace.replay import tracing
from gradcheck_fast.inputs.trees import pack

torch = pytest.importorskip("torch", reason="PyTorch is not installed")
nn, functional = torch.nn, torch.nn.functional
pytestmark = pytest.mark.usefixtures("one_thread_of_torch", "seed_of_torch")


class SpectralConvolution(nn.Module):
    """The layer of a Fourier neural operator, with its complex weights as a real parameter."""

    def __init__(self, channels, modes):
        super().__init__()
        self.modes = modes
        self.weight = nn.Parameter(torch.randn(channels, channels, modes, modes, 2, dtype=torch.float64) / channels)

    def forward(self, x):
        found, m = torch.fft.rfft2(x), self.modes
        out = torch.zeros_like(found)
        weight = torch.view_as_complex(self.weight)
        out[:, :, :m, :m] = torch.einsum("bixy,ioxy->boxy", found[:, :, :m, :m], weight)
        return torch.fft.irfft2(out, s=x.shape[-2:])


class ComplexWeights(nn.Module):
    """The same along one axis, with its complex weights as a complex parameter."""

    def __init__(self, channels, modes):
        super().__init__()
        self.weight = nn.Parameter(torch.randn(channels, channels, modes, dtype=torch.complex128))

    def forward(self, x):
        return torch.fft.irfft(torch.einsum("bik,iok->bok", torch.fft.rfft(x), self.weight), n=x.shape[-1])


class StateSpace(nn.Module):
    """A diagonal state space layer: a convolution by Fourier transforms with a kernel of complex exponentials."""

    def __init__(self, channels, states):
        super().__init__()
        self.log_step = nn.Parameter(torch.rand(channels).double() - 3.0)
        self.out = nn.Parameter(torch.randn(channels, states, 2, dtype=torch.float64))
        self.log_decay = nn.Parameter(torch.zeros(channels, states).double())
        self.frequency = nn.Parameter(3.0 * torch.arange(states).double().repeat(channels, 1))

    def forward(self, x):
        length, poles = x.shape[-1], -self.log_decay.exp() + 1j * self.frequency
        scaled = poles * self.log_step.exp()[:, None]
        factors = torch.view_as_complex(self.out) * (scaled.exp() - 1.0) / poles
        powers = (scaled[..., None] * torch.arange(length)).exp()
        kernel = 2.0 * torch.einsum("hn,hnl->hl", factors, powers).real
        transforms = [torch.fft.rfft(each, n=2 * length) for each in (x, kernel)]
        return torch.fft.irfft(transforms[0] * transforms[1], n=2 * length)[..., :length]


def spectral_loss(out, target):
    window = torch.hann_window(16, dtype=out.dtype)
    a, b = (torch.stft(x.flatten(0, 1), 16, 4, window=window, return_complex=True).abs() for x in (out, target))
    return torch.linalg.norm(a - b) / torch.linalg.norm(b) + ((a + 1e-2).log() - (b + 1e-2).log()).abs().mean()


class Rotary(nn.Module):
    """Attention weights with rotary positions by complex products."""

    def __init__(self, size):
        super().__init__()
        self.query, self.key = nn.Linear(size, size), nn.Linear(size, size)

    def turned(self, x):
        pairs = torch.view_as_complex(x.unflatten(-1, (-1, 2)))
        angles = torch.outer(torch.arange(x.shape[-2]), 0.3 ** torch.arange(pairs.shape[-1])).to(x.dtype)
        return torch.view_as_real(pairs * torch.polar(torch.ones_like(angles), angles)).flatten(-2)

    def forward(self, x):
        return (self.turned(self.query(x)) @ self.turned(self.key(x)).mT).softmax(-1)


CASES = {
    "spectral convolution": (lambda: SpectralConvolution(2, 3), nn.MSELoss(), (2, 2, 8, 8), (2, 2, 8, 8)),
    "complex weights": (lambda: ComplexWeights(2, 5), nn.MSELoss(), (3, 2, 8), (3, 2, 8)),
    "state space": (lambda: StateSpace(2, 3), nn.MSELoss(), (2, 2, 10), (2, 2, 10)),
    "spectral loss": (lambda: nn.Conv1d(1, 1, 5, padding=2), spectral_loss, (2, 1, 48), (2, 1, 48)),
    "rotary": (lambda: Rotary(6), nn.MSELoss(), (2, 4, 6), (2, 4, 4)),
}


@pytest.mark.parametrize("name", CASES)
def test_a_module_is_exact_and_a_wrong_entry_is_found(name):
    make, loss_fn, shape, target = CASES[name]
    module = make()
    module = module if any(parameter.is_complex() for parameter in module.parameters()) else module.double()
    given = data(*shape), data(*target)
    report = gf.torch.gradcheck(module, loss_fn, *given, n_threads=1)
    assert report.ok, str(report)
    assert (report.method, report.relative_error < 1e-12) == ("chain", True), report.notes
    assert any(TRACED in note for note in report.notes)
    assert not any("differenced by itself" in note for note in report.notes), report.notes

    def plant(gradient):
        wrong = gradient.clone()
        wrong[torch.unravel_index(gradient.abs().argmax(), gradient.shape)] *= 1.0 + 1e-6
        return wrong

    next(iter(module.parameters())).register_hook(plant)
    assert gf.torch.gradcheck(module, loss_fn, *given, n_threads=1).verdict == "FAIL"


def traced(function, **arrays):
    """What a trace of a function of tensors says that it returns; a complex array is given as its two parts."""
    tensors = {name: torch.tensor(array) for name, array in arrays.items()}
    parts = {}
    for name, array in arrays.items():
        is_complex = array.dtype.kind == "c"
        parts |= {f"{name}.real": array.real, f"{name}.imag": array.imag} if is_complex else {name: array}

    def replay(recording, given):
        with tracing(recording, tensors, given, {}) as tracer:
            found = function(*tensors.values())
            return tracer.value(found), found.resolve_conj().resolve_neg().numpy()

    return replayed(replay, pack(parts), lambda recording, result: result)


def complex_data(*shape):
    random = np.random.default_rng(0)
    return random.normal(size=shape) + 1j * random.normal(size=shape)


def conjugate_written(z):
    z = z.clone()
    z.conj().imag.mul_(2.0)
    z.conj()[0] = z[1] * 1j
    return z


def parts_written(z):
    z = z.clone()
    torch.view_as_real(z)[1:, 0] = z[:2].imag.flip(1)
    z.real[0] += z.imag[2]
    return z


@pytest.mark.parametrize(
    "function",
    [
        lambda z: z, lambda z: z.conj(), lambda z: z.real, lambda z: z.imag, lambda z: z.conj().imag,
        lambda z: torch.view_as_real(z).flatten(), lambda z: torch.view_as_complex(torch.view_as_real(z).flip(0)),
        lambda z: z.T.conj()[1:], lambda z: z.reshape(-1)[::2], conjugate_written, parts_written,
    ],
)  # fmt: skip
def test_views_of_a_complex_parameter(function):
    _, (value, expected) = traced(function, z=complex_data(3, 2))
    found = value.plain() if type(value) is ComplexArray else value._view
    np.testing.assert_array_equal(found, expected)


def test_what_is_not_known_for_complex_tensors_is_named():
    recording, (value, expected) = traced(torch.linalg.svdvals, z=complex_data(2, 2))
    np.testing.assert_allclose(value._view, expected)
    assert any("_linalg_svd is differenced by itself" in note for note in recording.notes)


def test_an_unknown_function_that_returns_complex_numbers():
    recording, (value, expected) = traced(torch.asin, z=complex_data(2, 2))
    np.testing.assert_allclose(value.plain(), expected)
    assert any("asin is differenced by itself" in note for note in recording.notes)
