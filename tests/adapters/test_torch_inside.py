"""gf.torch: modules that differentiate inside, and that compute themselves anew on the way back."""

from __future__ import annotations

import pytest
from torch_data import squares

import gradcheck_fast as gf

torch = pytest.importorskip("torch", reason="PyTorch is not installed")
nn = torch.nn
checkpoint = pytest.importorskip("torch.utils.checkpoint").checkpoint
pytestmark = pytest.mark.usefixtures("one_thread_of_torch", "seed_of_torch")


class Energy(nn.Module):
    def __init__(self):
        super().__init__()
        self.net = nn.Sequential(nn.Linear(4, 6), nn.Tanh(), nn.Linear(6, 1))


class Forces(Energy):
    """Of positions that it makes a leaf of its own."""

    def forward(self, x):
        x = x.detach().requires_grad_()
        return torch.autograd.grad(self.net(x).sum(), x, create_graph=True)[0]


class ForcesOnInputs(Energy):
    """Of positions that require a gradient when they are given."""

    def forward(self, x):
        return torch.autograd.grad(self.net(x).sum(), x, create_graph=True)[0]


class ForcesByBackward(Energy):
    def forward(self, x):
        self.net(x).sum().backward(create_graph=True, inputs=[x])
        found, x.grad = x.grad, None
        return found


class Residual(Energy):
    """u'' + u of a physics-informed network."""

    def forward(self, x):
        x = x.detach().requires_grad_()
        u = self.net(x)
        (slope,) = torch.autograd.grad(u.sum(), x, create_graph=True)
        (bend,) = torch.autograd.grad(slope[:, 0].sum(), x, create_graph=True)
        return bend[:, :1] + u


class GradientPenalty(Energy):
    """At random points between data, as for Wasserstein networks."""

    def forward(self, x):
        between = (x + torch.rand(len(x), 1, dtype=x.dtype) * (x.flip(0) - x)).detach().requires_grad_()
        (slope,) = torch.autograd.grad(self.net(between).sum(), between, create_graph=True)
        return self.net(x) + (slope.norm(dim=1, keepdim=True) - 1) ** 2


class InnerStep(nn.Module):
    """A step of descent on its own parameter, as in meta-learning."""

    def __init__(self):
        super().__init__()
        self.w = nn.Parameter(torch.randn(4))

    def forward(self, x):
        (slope,) = torch.autograd.grad((x @ self.w - 1).square().mean(), self.w, create_graph=True)
        return x @ (self.w - 0.1 * slope)


class InnerSteps(Energy):
    """Two steps, on all parameters."""

    def forward(self, x):
        params = dict(self.net.named_parameters())
        for _ in range(2):
            value = torch.func.functional_call(self.net, params, (x,)).square().mean()
            slopes = torch.autograd.grad(value, list(params.values()), create_graph=True)
            params = {name: p - 0.1 * slope for (name, p), slope in zip(params.items(), slopes, strict=True)}
        return torch.func.functional_call(self.net, params, (x,))


class ByTransforms(Energy):
    def forward(self, x):
        return torch.func.vmap(torch.func.grad(lambda x: self.net(x).sum()))(x)


class Checkpointed(nn.Module):
    def __init__(self, reentrant, *inner):
        super().__init__()
        self.first, self.inner, self.reentrant = nn.Linear(4, 6), nn.Sequential(nn.Linear(6, 5), *inner), reentrant

    def forward(self, x):
        return checkpoint(self.inner, self.first(x), use_reentrant=self.reentrant)


def inputs(module, dtype):
    return torch.randn(5, 4, dtype=dtype).requires_grad_(isinstance(module, (ForcesOnInputs, ForcesByBackward)))


MODULES = [
    Forces, ForcesOnInputs, ForcesByBackward, Residual, GradientPenalty, InnerStep, InnerSteps, ByTransforms,
    lambda: Checkpointed(False, nn.Tanh()), lambda: Checkpointed(True, nn.Tanh()),
    lambda: Checkpointed(True, nn.Dropout(0.3)), lambda: Checkpointed(False, nn.Dropout(0.3)),
]  # fmt: skip
IDS = ["forces", "forces on inputs", "forces by backward", "residual", "gradient penalty", "inner step", "inner steps",
       "transforms", "checkpoint", "reentrant", "reentrant with dropout", "checkpoint with dropout"]  # fmt: skip


@pytest.mark.filterwarnings("ignore:Using backward\\(\\) with create_graph=True:UserWarning")
@pytest.mark.parametrize("make", MODULES, ids=IDS)
@pytest.mark.parametrize("dtype, error, grad_enabled", [(torch.float64, 1e-6, True), (torch.float32, 1e-4, False)])
def test_a_right_gradient(make, dtype, error, grad_enabled):
    module = make().to(dtype)
    X = inputs(module, dtype)
    with torch.set_grad_enabled(grad_enabled):
        report = gf.torch.gradcheck(module, squares, X)
    assert report.ok, str(report)
    assert report.relative_error < error
    assert not [a.name for a in report.arrays if a.status == "nothing to check" and "net.2.bias" not in a.name]


class TooLarge(torch.autograd.Function):
    """The identity, with a backward that is 1 % too large."""

    @staticmethod
    def forward(ctx, x):
        return x.clone()

    @staticmethod
    def backward(ctx, grad):
        return 1.01 * grad


@pytest.mark.parametrize("make", MODULES, ids=IDS)
@pytest.mark.filterwarnings("ignore:Using backward\\(\\) with create_graph=True:UserWarning")
def test_a_wrong_gradient(make):
    class Outer(nn.Module):
        def __init__(self):
            super().__init__()
            self.inner = make()

        def forward(self, x):
            return TooLarge.apply(self.inner(x))

    module = Outer().double()
    assert gf.torch.gradcheck(module, squares, inputs(module.inner, torch.float64)).verdict == "FAIL"


def test_gradients_of_other_leaves_stay_as_they_are_though_backward_accumulates_in_them():
    """As it does where PyTorch refuses to give the gradients of some leaves."""
    module, foreign, inner, untouched = Checkpointed(True, nn.Tanh()), *torch.randn(3, 5).unbind()
    foreign, inner, untouched = (leaf.clone().requires_grad_() for leaf in (foreign, inner, untouched))
    foreign.grad, inner.grad = torch.ones(5), torch.zeros(5)
    module.inner.append(nn.Tanh())
    module.inner[-1].register_forward_hook(lambda module, inputs, output: output * inner)
    X = torch.randn(5, 4).requires_grad_()
    before = foreign.grad, inner.grad
    report = gf.torch.gradcheck(module, lambda out: squares(out * foreign) + 0.0 * untouched.sum(), X)
    assert report.ok, str(report)
    assert foreign.grad is before[0]
    assert inner.grad is before[1]
    assert torch.equal(foreign.grad, torch.ones(5))
    assert torch.equal(inner.grad, torch.zeros(5))
    assert X.grad is None
    assert untouched.grad is None
    assert all(parameter.grad is None for parameter in module.parameters())


def test_in_inference_mode():
    module = Forces()
    X = torch.randn(5, 4)
    with torch.inference_mode():
        assert gf.torch.gradcheck(module, squares, X)


def test_an_error_of_the_users_is_the_one_that_is_raised():
    class Broken(Checkpointed):
        def forward(self, x):
            return super().forward(x) @ torch.ones(2, 3, dtype=x.dtype)

    with pytest.raises(RuntimeError, match="shapes cannot be multiplied"):
        gf.torch.gradcheck(Broken(True), squares, torch.randn(5, 4))
