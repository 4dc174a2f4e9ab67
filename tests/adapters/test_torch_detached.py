"""gf.torch: what the user's code detaches is held fixed, as autograd does, and the report names the lines."""

from __future__ import annotations

import pytest
from torch_data import data

import gradcheck_fast as gf

torch = pytest.importorskip("torch", reason="PyTorch is not installed")
nn, functional = torch.nn, torch.nn.functional
pytestmark = pytest.mark.usefixtures("one_thread_of_torch", "seed_of_torch")


class Two(nn.Module):
    """Two layers, and a function of both and of the data."""

    def __init__(self, function):
        super().__init__()
        self.first, self.second, self.function = nn.Linear(4, 4), nn.Linear(4, 4), function

    def forward(self, x):
        return self.function(self.first, self.second, x)


class Cubic(torch.autograd.Function):
    """The third power, whose forward detaches, and has a backward for that."""

    @staticmethod
    def forward(ctx, x):
        ctx.save_for_backward(x)
        return x.detach() ** 3

    @staticmethod
    def backward(ctx, grad):
        (x,) = ctx.saved_tensors
        return 3.0 * grad * x**2


def check(function, error=0.0):
    module = Two(function).double()
    if error:
        module.first.weight.register_hook(lambda grad: grad * (1.0 + error))
    return gf.torch.gradcheck(module, lambda out: out.square().mean(), data(3, 4), n_threads=1)


def without_gradients(first, second, x):
    h = first(x)
    with torch.no_grad():
        target = second(h).view(-1).tanh().view(3, 4)
    return h * target


@torch.no_grad()
def teacher(second, x):
    return second(x).tanh()


def buffer_without_gradients(first, second, x):
    h = first(x)
    out = torch.zeros_like(h)
    with torch.no_grad():
        out.copy_(h)
        out[0] += h[1]
    return h * out


def views_without_gradients(first, second, x):
    h = first(x)
    with torch.no_grad():
        left, right = h.chunk(2, 1)
    return h[:, :2] * left + right


def truncated(first, second, x):
    for time in range(4):
        x = first(x).tanh()
        if time == 1:
            x = x.detach()
    return x


def in_place(first, second, x):
    h = first(x).tanh()
    h.detach_()
    return second(h)


def inner_gradient(first, second, x):
    x = x.clone().requires_grad_()
    h = first(x).tanh()
    (slope,) = torch.autograd.grad(h.sum(), x, retain_graph=True)
    return h * slope


def in_inference_mode(first, second, x):
    with torch.inference_mode():
        target = second(x).tanh()
    return first(x) * target.clone()


def straight_through(first, second, x):
    h = first(x)
    return second(h + (h.sign() - h).detach())


def vector_quantized(first, second, x):
    code = first(x)
    nearest = second.weight[torch.cdist(code, second.weight).argmin(1)]
    through = code + (nearest - code).detach()
    return through.sin() + (nearest - code.detach()) ** 2 + 0.25 * (nearest.detach() - code) ** 2


def moving_average(first, second, x):
    with torch.no_grad():
        for own, other in zip(second.parameters(), first.parameters(), strict=True):
            own.data.mul_(0.9).add_(other.data, alpha=0.1)
        target = second(x)
    return first(x) * target


def in_a_checkpoint(use_reentrant):
    def function(first, second, x):
        def inner(h):
            return second(h).tanh() * h.detach()

        return torch.utils.checkpoint.checkpoint(inner, first(x), use_reentrant=use_reentrant)

    return function


HELD = {
    "vector quantized": vector_quantized, "in a checkpoint": in_a_checkpoint(False),
    "in a reentrant checkpoint": in_a_checkpoint(True),
    "detach": lambda first, second, x: first(x) * second(x).tanh().detach(),
    "data": lambda first, second, x: first(x) * second(x).tanh().data,
    "a number": lambda first, second, x: first(x) * second(x).detach().sum().item(),
    "an array": lambda first, second, x: first(x) * torch.from_numpy(second(x).detach().numpy()),
    "weight": lambda first, second, x: functional.linear(x, first.weight / first.weight.norm().detach()),
    "decorated": lambda first, second, x: first(x) * teacher(second, x) + second(x).sin(),
    "a function": lambda first, second, x: first(x) * Cubic.apply(second(x)).detach(),
    "Gumbel": lambda first, second, x: functional.gumbel_softmax(first(x), 1.0, True) * second(x),
    "quantized": lambda first, second, x: torch.fake_quantize_per_tensor_affine(first(x), 0.1, 0, -8, 8),
    "no_grad": without_gradients, "buffer": buffer_without_gradients, "views": views_without_gradients,
    "truncated": truncated, "detach_": in_place, "inner": inner_gradient, "inference": in_inference_mode,
    "straight-through": straight_through,
}  # fmt: skip


@pytest.mark.parametrize("name", HELD)
def test_what_is_detached_is_held_fixed(name):
    report = check(HELD[name])
    assert report.ok, str(report)
    assert report.method == "chain"
    assert report.relative_error < 1e-12
    (note,) = [note for note in report.notes if "is held fixed, as autograd does" in note]
    assert "test_torch_detached.py line" in note


@pytest.mark.parametrize("name", ["detach", "no_grad", "views", "straight-through", "quantized"])
def test_a_wrong_gradient_is_found(name):
    report = check(HELD[name], error=1e-6)
    assert {array.name for array in report.arrays if array.wrong} == {"first.weight"}


def test_a_target_network_that_follows():
    module = Two(moving_average).double()
    module.second.requires_grad_(False)
    report = gf.torch.gradcheck(module, lambda out: out.square().mean(), data(3, 4), n_threads=1)
    assert report.ok, str(report)
    assert any("is held fixed, as autograd does" in note for note in report.notes)


def test_plain_differences_do_not_hold_it_and_a_note_says_so():
    module = Two(HELD["detach"]).double()
    report = gf.torch.gradcheck(module, lambda out: out.square().mean(), data(3, 4), method="direct")
    assert report.verdict == "FAIL"
    assert any("counts in plain differences but not in the gradient" in note for note in report.notes)


def test_plain_differences_say_nothing_of_it_where_nothing_is_detached():
    module = Two(lambda first, second, x: Cubic.apply(first(x)) * second(x)).double()
    module.first.weight.register_hook(lambda grad: 1.1 * grad)
    report = gf.torch.gradcheck(module, lambda out: out.square().mean(), data(3, 4), method="direct")
    assert report.verdict == "FAIL"
    assert not any("counts in plain differences" in note for note in report.notes)


def test_where_nothing_changes_by_it_nothing_is_said():
    def shifted(first, second, x):
        h = first(x)
        shift = h.detach().max(1, keepdim=True).values
        return second(h) * ((h - shift).exp().sum(1, keepdim=True).log() + shift)

    report = check(shifted)
    assert report.ok, str(report)
    assert not any("held fixed" in note for note in report.notes)


def test_a_function_with_a_backward_of_its_own_is_followed():
    report = check(lambda first, second, x: Cubic.apply(first(x)))
    assert report.ok, str(report)
    assert not any("held fixed" in note for note in report.notes)


NUMBERS = {
    "a Python number is made": lambda first, second, x: first(x) * second(x).sum().item(),
    ".tolist()": lambda first, second, x: first(x) * sum(second(x).tolist()[0]),
}


@pytest.mark.parametrize("what", NUMBERS)
def test_a_number_that_is_taken_out_without_detach_is_no_constant(what):
    report = check(NUMBERS[what])
    assert report.verdict == "FAIL"  # the loss depends on it, and autograd does not see that
    assert what in report.notes[-1]


def test_a_chain_with_gradients_switched_off_is_no_network():
    class Chain(nn.Module):
        def __init__(self):
            super().__init__()
            self.first, self.second = nn.Linear(4, 5), nn.Linear(5, 3)

        def forward(self, x):
            with torch.no_grad():
                x = self.first(x)
            return self.second(x)

    report = gf.torch.gradcheck(Chain().double(), nn.MSELoss(), data(3, 4), data(3, 3), n_threads=1)
    assert report.ok, str(report)
    assert "forward switches gradients off" in report.notes[-1]


@pytest.mark.parametrize("tied", [False, True])
def test_the_row_of_padding_has_no_gradient(tied):
    class Tagger(nn.Module):
        def __init__(self):
            super().__init__()
            self.embed, self.dense = nn.Embedding(5, 4, padding_idx=1), nn.Linear(4, 4)

        def forward(self, index):
            out = self.dense(self.embed(index)).tanh()
            return out @ self.embed.weight.T if tied else out

    module = Tagger().double()
    with torch.no_grad():
        module.embed.weight[1] = 0.5
    index = torch.tensor([[0, 1, 2], [1, 3, 3]])
    report = gf.torch.gradcheck(module, lambda out: out.square().mean(), index, n_threads=1)
    assert report.ok, str(report)  # if the row is used elsewhere, too, it has the gradient of that
    assert report.method == "chain"
    assert any("row 1" in note and "padding" in note for note in report.notes)
