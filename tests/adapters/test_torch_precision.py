"""gf.torch: gradients that were computed in bfloat16 or float16, in whole or in part."""

from __future__ import annotations

import pytest
from torch_data import COMPILED, squares

import gradcheck_fast as gf

torch = pytest.importorskip("torch", reason="PyTorch is not installed")
nn, functional = torch.nn, torch.nn.functional
pytestmark = pytest.mark.usefixtures("one_thread_of_torch", "seed_of_torch")


class Scaled(torch.autograd.Function):
    """The identity, with a backward that is wrong by a factor."""

    @staticmethod
    def forward(ctx, x, factor):
        ctx.factor = factor
        return x.clone()

    @staticmethod
    def backward(ctx, grad):
        return ctx.factor * grad, None


class Layers(nn.Module):
    def __init__(self, factor=1.0):
        super().__init__()
        self.first, self.second, self.factor = nn.Linear(4, 8), nn.Linear(8, 3), factor

    def hidden(self, x):
        return torch.tanh(Scaled.apply(self.first(x), self.factor))

    def forward(self, x):
        return self.second(self.hidden(x))


class CastInside(Layers):
    """The first layer alone is of bfloat16."""

    def forward(self, x):
        with torch.autocast("cpu", dtype=torch.bfloat16):
            hidden = self.hidden(x)
        return self.second(hidden.float())


class CastByHand(Layers):
    def hidden(self, x):
        weight, bias = self.first.weight.bfloat16(), self.first.bias.bfloat16()
        return torch.tanh(Scaled.apply(functional.linear(x.bfloat16(), weight, bias), self.factor)).to(x.dtype)


class InHalf(Layers):
    def forward(self, x):
        with torch.autocast("cpu", dtype=torch.float16):
            return self.second(self.hidden(x)).float()


def check(module, name, X=None):
    X = torch.randn(6, 4) if X is None else X
    if name == "around":
        with torch.autocast("cpu", dtype=torch.bfloat16):
            return gf.torch.gradcheck(module, squares, X)
    return gf.torch.gradcheck(module, squares, X)


KINDS = {"around": Layers, "inside": CastInside, "by hand": CastByHand, "half": InHalf}


@pytest.mark.parametrize("name", KINDS)
@pytest.mark.parametrize("seed", range(3))
def test_autocast(name, seed):
    torch.manual_seed(seed)
    report = check(KINDS[name](), name)
    assert report.ok, str(report)
    assert 1e-5 < report.relative_error < 2e-2
    coarse = "float16" if name == "half" else "bfloat16"
    assert f"the gradient was computed in {coarse} in part" in " ".join(report.notes)


@pytest.mark.parametrize("name", KINDS)
@pytest.mark.parametrize("factor", [1.3, 0.7])
def test_a_wrong_gradient_under_autocast(name, factor):
    report = check(KINDS[name](factor), name)
    assert report.verdict == "FAIL"
    assert {a.name for a in report.arrays if a.wrong} <= {"first.weight", "first.bias"}


@pytest.mark.parametrize("factor, verdict", [(1.0, "PASS"), (1.5, "FAIL")])
def test_autocast_of_what_the_engine_knows(factor, verdict):
    module = nn.Sequential(nn.Linear(4, 8), nn.Tanh(), nn.Linear(8, 3))
    module[0].weight.register_hook(lambda grad: factor * grad)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        report = gf.torch.gradcheck(module, nn.MSELoss(), torch.randn(6, 4), torch.randn(6, 3))
    assert report.verdict == verdict
    assert COMPILED in report.notes[-1]


@pytest.mark.parametrize("dtype, error", [(torch.bfloat16, 2e-2), (torch.float16, 2e-3)])
def test_modules_of_less_than_float32(dtype, error):
    X = torch.randn(6, 4, dtype=dtype)
    report = check(Layers().to(dtype), "", X)
    assert report.ok, str(report)
    assert error / 1e3 < report.relative_error < error
    assert check(Layers(1.5).to(dtype), "", X).verdict == "FAIL"


def test_float32_is_as_accurate_as_float32_though_integers_become_less():
    """A mask of bfloat16 is no rounding."""

    class Masked(Layers):
        def forward(self, x):
            return super().forward(x) * (torch.arange(3) > 0).bfloat16().float()

    report = check(Masked(1.001), "")
    assert report.verdict == "FAIL"
    assert not any("bfloat16" in note for note in report.notes)


# ---- what is of float32 in any case does not go with float64


class MadeInside(Layers):
    """A state of zeros, as recurrent networks begin with."""

    def forward(self, x):
        state = torch.zeros(len(x), 8)
        for k in range(3):
            state = torch.tanh(self.first(x) + state @ torch.eye(8) * torch.full((8,), 0.5 + k))
        return self.second(state)


class CastBack(Layers):
    def forward(self, x):
        return self.second(self.hidden(x).float())


class Constant(Layers):
    def forward(self, x):
        return self.second(self.hidden(x @ WEIGHT))


WEIGHT = torch.randn(4, 4)


@pytest.mark.parametrize("make", [MadeInside, CastBack, Constant])
def test_what_a_forward_makes_or_holds_in_float32(make):
    assert (report := check(make(), "")).ok, str(report)
    assert report.relative_error < 1e-5
    assert check(make(1.01), "").verdict == ("PASS" if make is MadeInside else "FAIL")


@pytest.mark.parametrize("factor, verdict", [(1.0, "PASS"), (1.5, "FAIL")])
def test_a_function_under_autocast(factor, verdict):
    torch.manual_seed(0)
    layer, X = Layers(factor), torch.randn(6, 4, requires_grad=True)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        report = gf.torch.check_function(lambda x: layer.to(x.dtype).hidden(x), X)
    assert report.verdict == verdict
    assert any("computed in bfloat16" in note for note in report.notes)


# ---- the same code in float64 tells rounding from mistakes


def normalised():
    """Its first bias has no gradient but for rounding, which says nothing about the other arrays."""
    return nn.Sequential(
        nn.Linear(4, 8), nn.BatchNorm1d(8), nn.SiLU(), nn.Linear(8, 8), nn.LayerNorm(8), nn.Linear(8, 3)
    )


def attending():
    return nn.TransformerEncoderLayer(4, 2, 8, 0.0, activation="gelu", batch_first=True, norm_first=True)


ORDINARY = {"normalised": (normalised, (8, 4)), "attending": (attending, (3, 5, 4))}


def scaled(place, factor):
    """A hook that multiplies an entry of ordinary size."""

    def hook(gradient):
        wrong = gradient.clone()
        wrong.view(-1)[place] *= factor
        return wrong

    return hook


@pytest.mark.parametrize("name", ORDINARY)
@pytest.mark.parametrize("whole", [True, False])
def test_ordinary_modules_in_bfloat16(name, whole):
    make, shape = ORDINARY[name]
    module, X = make(), torch.randn(*shape)
    if whole:
        module, X = module.bfloat16(), X.bfloat16()
    kind = "" if whole else "around"
    report = check(module, kind, X)
    assert report.ok, str(report)

    for parameter in [*module.parameters()][3:6]:
        parameter.grad = None
        squares(module(X)).backward()
        sizes = parameter.grad.float().abs().view(-1)
        handle = parameter.register_hook(scaled(int((sizes - sizes.square().mean().sqrt()).abs().argmin()), 1.3))
        assert check(module, kind, X).verdict == "FAIL"
        handle.remove()
