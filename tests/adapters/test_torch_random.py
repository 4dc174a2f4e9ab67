"""gf.torch: losses that draw random numbers, are noisy, or are others in float64."""

from __future__ import annotations

import numpy as np
import pytest
from torch_data import squares

import gradcheck_fast as gf

torch = pytest.importorskip("torch", reason="PyTorch is not installed")
nn, functional = torch.nn, torch.nn.functional
pytestmark = pytest.mark.usefixtures("one_thread_of_torch", "seed_of_torch")

FROZEN = "random numbers were frozen: those of the run that gave the gradient"


@pytest.mark.parametrize("is_trained", [True, False])
def test_numbers_drawn_around_others_give_these_no_gradient(is_trained):
    """`torch.normal` is taken as PyTorch has it; the note says so, unless nothing was to be trained through it."""

    def draw(h):
        with torch.set_grad_enabled(is_trained):
            drawn = torch.normal(h, 0.5)
        return drawn * h

    report = gf.torch.gradcheck(Drawing(draw), squares, torch.randn(5, 4))
    assert report.ok
    assert any("torch.normal has no derivative by its mean" in note for note in report.notes) is is_trained


class Drawing(nn.Module):
    """A layer, and what is done to what it gives."""

    def __init__(self, draw, outputs=20):
        super().__init__()
        self.dense, self.draw = nn.Linear(4, outputs), draw

    def forward(self, x):
        return self.draw(self.dense(x))


def seeded(h):
    torch.manual_seed(0)
    return h + torch.randn_like(h)


def of_its_own_dtype(h):
    return h * torch.randn(h.shape, dtype=h.dtype)


def in_place(h):
    uniform, normal, exponential = torch.empty_like(h), torch.zeros(20), torch.zeros(20)
    return (h * uniform.uniform_(0.5, 1.5)).tanh() + h * normal.normal_() * exponential.exponential_()


def whole_numbers(h):
    return h[:, torch.randperm(20)] * torch.randint(1, 4, (20,)) + h * torch.multinomial(torch.ones(20), 20)


def by_probabilities(h):
    return torch.bernoulli(h.detach().sigmoid()) * h


def scaled_noise(h):
    return torch.distributions.Normal(h, h.exp()).rsample()


def gumbel(h):
    return functional.gumbel_softmax(h)


def attention(h):
    h = h.reshape(5, 4, 5)
    return functional.scaled_dot_product_attention(h, h, h, dropout_p=0.3)


def native(h):
    """As Dropout is on GPUs."""
    found, _ = torch.native_dropout(h, 0.4, True)
    return found


DRAWS = [
    seeded, of_its_own_dtype, in_place, whole_numbers, by_probabilities, scaled_noise, gumbel, attention, native,
    functional.dropout, nn.Dropout(0.3), nn.AlphaDropout(), nn.FeatureAlphaDropout(),
]  # fmt: skip


@pytest.mark.parametrize("draw", DRAWS, ids=lambda draw: getattr(draw, "__name__", str(draw)))
@pytest.mark.parametrize("dtype, error", [(torch.float64, 1e-7), (torch.float32, 1e-5)])
def test_what_is_drawn_is_drawn_once(draw, dtype, error):
    """Of 16 numbers and more PyTorch draws others in float64 than in float32, with the same seed."""
    module, X = Drawing(draw).to(dtype), torch.randn(5, 4, dtype=dtype)
    before = torch.get_rng_state()
    report = gf.torch.gradcheck(module, squares, X)
    assert report.ok, str(report)
    assert report.relative_error < error
    assert any(FROZEN in note for note in report.notes)
    assert torch.equal(torch.get_rng_state(), before)


class Halved(torch.autograd.Function):
    """Its backward is 1 % too large."""

    @staticmethod
    def forward(ctx, x):
        return 0.5 * x

    @staticmethod
    def backward(ctx, grad):
        return 0.505 * grad


@pytest.mark.parametrize("draw, dtype", [(seeded, torch.float32), (functional.dropout, torch.float64)])
def test_a_wrong_gradient_beside_random_numbers_is_found(draw, dtype):
    module = Drawing(lambda h: draw(Halved.apply(h))).to(dtype)
    report = gf.torch.gradcheck(module, squares, torch.randn(5, 4, dtype=dtype))
    assert report.verdict == "FAIL"
    assert report.wrong > 40


def test_recurrent_layers_with_dropout():
    module = nn.LSTM(4, 5, 2, dropout=0.5)
    report = gf.torch.gradcheck(module, lambda out: squares(out[0]), torch.randn(3, 2, 4), sample=30)
    assert report.ok, str(report)
    assert any(FROZEN in note for note in report.notes)


def test_the_random_numbers_are_those_of_the_users_generator():
    """Which is left as it was, so that the next training step has the gradient that was checked."""
    module, X = nn.Sequential(nn.Linear(4, 20), nn.Dropout()).double(), torch.ones(5, 4).double()
    report = gf.torch.gradcheck(module, squares, X)
    squares(module(X)).backward()
    dropped = np.flatnonzero(report.numerical["0.bias"] == 0.0)
    np.testing.assert_allclose(report.numerical["0.bias"], module[0].bias.grad, rtol=1e-7)
    assert 0 < len(dropped) < 20 or report.ok


@pytest.mark.parametrize(
    "draw, what",
    [
        (nn.RReLU(), "aten.rrelu_with_noise"),
        (lambda h: torch.distributions.Gamma(h.exp(), h.exp()).rsample(), "aten._standard_gamma"),
        (lambda h: torch.distributions.Dirichlet(h.exp()).rsample(), "aten._sample_dirichlet"),
    ],
)
def test_random_numbers_that_are_no_results_of_their_own_cannot_be_frozen(draw, what):
    with pytest.raises(ValueError, match=rf"draws random numbers in {what}.*cannot be frozen.*module\.eval\(\)"):
        gf.torch.gradcheck(Drawing(draw), squares, torch.randn(5, 4))


def test_attention_without_dropout_draws_nothing():
    """Though PyTorch counts its kernel among those that may."""
    h = lambda h: functional.scaled_dot_product_attention(*[h.reshape(1, 5, 4, 5)] * 3)
    report = gf.torch.gradcheck(Drawing(h), squares, torch.randn(5, 4))
    assert report.ok, str(report)
    assert not any(FROZEN in note for note in report.notes)


def test_other_numbers_of_numbers_that_depend_on_the_parameters_cannot_be_frozen():
    """At other parameters there are more or fewer of them."""

    def draw(h):
        return h + torch.randn(int(1e9 * h.sum().abs()) % 7).sum()

    report = gf.torch.gradcheck(Drawing(draw).double(), squares, torch.randn(5, 4).double())
    assert report.verdict != "FAIL"
    assert any("cannot be frozen" in note for note in report.notes)


@pytest.mark.parametrize("draw", [np.random.random, np.random.default_rng(0).normal])
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
def test_random_numbers_from_elsewhere_are_refused(draw, dtype):
    module = Drawing(lambda h: h * draw()).to(dtype)
    with pytest.raises(ValueError, match=r"the loss is .* at first and .* the next time.*Dropout.*module\.eval\(\)"):
        gf.torch.gradcheck(module, squares, torch.randn(5, 4, dtype=dtype))


# ---- noise is no randomness


@pytest.mark.parametrize("noise", [1e-15, 3e-10])
def test_sums_in_another_order_from_call_to_call(noise):
    """Their last bits differ; how much, is measured."""
    rng = np.random.default_rng(0)
    module = Drawing(lambda h: h * (1.0 + noise * rng.normal())).double()
    report = gf.torch.gradcheck(module, squares, torch.randn(5, 4).double())
    assert report.ok, str(report)
    wrong = Drawing(lambda h: Halved.apply(h) * (1.0 + noise * rng.normal())).double()
    assert gf.torch.gradcheck(wrong, squares, torch.randn(5, 4).double()).verdict == "FAIL"


def test_more_than_noise_is_refused():
    rng = np.random.default_rng(0)
    module = Drawing(lambda h: h * (1.0 + 1e-6 * rng.normal())).double()
    with pytest.raises(ValueError, match="at first and"):
        gf.torch.gradcheck(module, squares, torch.randn(5, 4).double())


# ---- another loss in float64


def by_dtype(h):
    return h.sin() if h.dtype is torch.float32 else h.cos()


def numpys_numbers(h):
    rng = np.random.default_rng(0)
    noise = rng.standard_normal(h.shape, np.float32 if h.dtype is torch.float32 else np.float64)
    return h * torch.from_numpy(noise)


def a_threshold_of_rounding(h):
    return h * (1e7 + (h - h.detach()) + 0.3 - 1e7).detach()


@pytest.mark.parametrize("draw", [by_dtype, numpys_numbers, a_threshold_of_rounding])
def test_another_loss_in_float64_is_refused(draw):
    with pytest.raises(ValueError, match=r"the loss is .* in its own dtype but .* in float64.*module\.double\(\)"):
        gf.torch.gradcheck(Drawing(draw), squares, torch.randn(5, 4))
    assert gf.torch.gradcheck(Drawing(draw).double(), squares, torch.randn(5, 4).double())


class Cancelling(torch.autograd.Function):
    """The identity, of which digits are lost on the way forward alone."""

    @staticmethod
    def forward(ctx, x, big):
        return (x + big) - big

    @staticmethod
    def backward(ctx, grad):
        return grad, None


@pytest.mark.parametrize("big", [1e2, 1e4])
def test_rounding_that_cancels_is_not_another_loss(big):
    """The loss in float32 has few digits left, its gradient has all."""
    module = Drawing(lambda h: Cancelling.apply(h, big))
    report = gf.torch.gradcheck(module, torch.sum, torch.randn(5, 4))
    assert report.ok, str(report)


@pytest.mark.parametrize("big", [1e4, 1e5, 1e6])
def test_a_wrong_gradient_of_a_loss_that_cancels_is_wrong_not_refused(big):
    module = Drawing(lambda h: Halved.apply(Cancelling.apply(h, big)))
    assert gf.torch.gradcheck(module, torch.sum, torch.randn(5, 4)).verdict == "FAIL"
