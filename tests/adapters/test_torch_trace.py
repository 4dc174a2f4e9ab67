"""gf.torch: modules whose operations are traced, and what a captured graph would silently get wrong."""

from __future__ import annotations

import numpy as np
import pytest
from torch_data import classes, data

import gradcheck_fast as gf
from gradcheck_fast.adapters.common import TRACED
from gradcheck_fast.adapters.torch.copies import array_of
from gradcheck_fast.adapters.torch.module import ModuleCase
from gradcheck_fast.checks.options import Options

torch = pytest.importorskip("torch", reason="PyTorch is not installed")
nn, functional = torch.nn, torch.nn.functional
pytestmark = pytest.mark.usefixtures("one_thread_of_torch", "seed_of_torch")


class After(nn.Module):
    """A function of what another module gives."""

    def __init__(self, module, function):
        super().__init__()
        self.module, self.function = module, function

    def forward(self, *x):
        return self.function(self.module(*x))


def after(function, inputs=4, outputs=4):
    return After(nn.Linear(inputs, outputs), function).double()


def squares(out):
    return out.square().mean()


def checked(module, loss_fn=squares, inputs=None, targets=None, **options):
    return gf.torch.gradcheck(
        module, loss_fn, data(3, 4) if inputs is None else inputs, targets, n_threads=1, **options
    )


def assert_exact(report):
    assert report.ok, str(report)
    assert TRACED in report.notes[-1]
    assert report.method == "chain"
    assert report.certificate.holds
    assert report.relative_error < 1e-12
    assert not any("differenced by itself" in note for note in report.notes)


def assert_falls_back(report, why):
    assert "differenced as a Python function" in report.notes[-1]
    assert why in report.notes[-1]


# ---- what captured graphs get wrong


@pytest.mark.parametrize("reduction", ["mean", "sum"])
@pytest.mark.parametrize("kind", [tuple, torch.tensor])
def test_the_divisor_of_ctc(kind, reduction):
    lengths = kind([6, 5]), kind([3, 2])
    targets = torch.tensor([[1, 2, 2], [3, 1, 0]])

    def loss_fn(out):
        return functional.ctc_loss(out.log_softmax(-1), targets, *lengths, reduction=reduction)

    assert_exact(checked(nn.Linear(3, 5).double(), loss_fn, data(6, 2, 3)))


def test_the_multilabel_margin_loss():
    targets = torch.tensor([[0, 1, -1, -1], [2, -1, 0, 1], [1, 2, 0, 3]])
    assert_exact(checked(nn.Linear(4, 4).double(), nn.MultiLabelMarginLoss(), targets=targets))


def test_the_dropout_between_the_layers_of_an_lstm():
    report = checked(nn.LSTM(4, 5, 2, dropout=0.5).double(), lambda out: squares(out[0]), data(5, 3, 4))
    assert_exact(report)
    assert any("random numbers were frozen" in note for note in report.notes)


class Forces(nn.Module):
    """The gradient of an energy by the positions."""

    def __init__(self, *layers):
        super().__init__()
        self.energy = nn.Sequential(*layers)

    def forward(self, x):
        x = x.detach().requires_grad_()
        (gradient,) = torch.autograd.grad(self.energy(x).sum(), x, create_graph=True)
        return -gradient


@pytest.mark.parametrize(
    "layers",
    [
        [nn.Linear(4, 6), nn.Tanh(), nn.Linear(6, 6), nn.Sigmoid(), nn.Linear(6, 1)],
        [nn.Linear(4, 6), nn.SiLU(), nn.LayerNorm(6), nn.GELU(), nn.Linear(6, 1)],
        [nn.Linear(4, 6), nn.Softplus(), nn.Linear(6, 3), nn.Softmax(1), nn.Linear(3, 1), nn.ELU()],
        [nn.Unflatten(1, (1, 4)), nn.Conv1d(1, 3, 3, padding=1), nn.GELU("tanh"), nn.Flatten(), nn.Linear(12, 1)],
    ],
    ids=["tanh", "norm", "softmax", "convolution"],
)
def test_gradients_inside_a_module(layers):
    assert_exact(checked(Forces(*layers).double()))


def test_a_second_derivative_inside_a_module():
    net = nn.Sequential(nn.Linear(1, 8), nn.Tanh(), nn.Linear(8, 1)).double()

    class Residual(nn.Module):
        def __init__(self):
            super().__init__()
            self.net = net

        def forward(self, x):
            x = x.detach().requires_grad_()
            u = self.net(x)
            (slope,) = torch.autograd.grad(u.sum(), x, create_graph=True)
            (bend,) = torch.autograd.grad(slope.sum(), x, create_graph=True)
            return bend + u * slope

    assert_exact(checked(Residual(), inputs=data(5, 1)))


@pytest.mark.parametrize(
    "logged", [lambda y: y.detach().numpy().sum(), lambda y: y.detach().tolist(), lambda y: y.sum().item(), str]
)
def test_numbers_that_are_only_logged(logged):
    assert_exact(checked(after(lambda y: [logged(y), y * 2][1])))


class BySine(torch.autograd.Function):
    """The sine by NumPy, with its own backward."""

    @staticmethod
    def forward(ctx, x):
        ctx.save_for_backward(x)
        return torch.from_numpy(np.sin(x.detach().numpy()))

    @staticmethod
    def backward(ctx, grad):
        (x,) = ctx.saved_tensors
        return grad * torch.from_numpy(np.cos(x.detach().numpy()))


def test_a_function_that_goes_through_numpy_is_no_constant():
    report = checked(after(BySine.apply))
    assert report.ok, str(report)
    assert_falls_back(report, ".numpy() of a value that depends on the parameters")


class Cubic(torch.autograd.Function):
    """The third power, with a backward that `slope` times right."""

    slope = 1.0

    @staticmethod
    def forward(ctx, x):
        ctx.save_for_backward(x)
        return x**3

    @classmethod
    def backward(cls, ctx, grad):
        (x,) = ctx.saved_tensors
        return cls.slope * 3.0 * grad * x**2


def test_a_function_is_followed_by_its_forward():
    assert_exact(checked(after(Cubic.apply)))
    wrong = type("Wrong", (Cubic,), {"slope": 1.0 + 1e-9})
    report = checked(after(wrong.apply))
    assert report.wrong == 20
    assert TRACED in report.notes[-1]


def test_branches_on_values():
    assert_exact(checked(after(lambda y: y * 2 if y.sum() > 0 else y.tanh())))


def test_a_seed_that_is_set_inside():
    def noisy(y):
        torch.manual_seed(3)
        return y * torch.rand(4, dtype=y.dtype)

    assert_exact(checked(after(noisy)))


def test_random_numbers_of_python_are_no_constant():
    random = np.random.default_rng(0)
    with pytest.raises(ValueError, match=r"at first and .* the next time"):
        checked(after(lambda y: y * random.random()))


def test_the_buffers_of_a_batch_normalisation_stay():
    module = nn.Sequential(nn.Linear(4, 4), nn.BatchNorm1d(4), nn.Linear(4, 4)).double()
    before = {name: buffer.clone() for name, buffer in module.named_buffers()}
    assert_exact(checked(module))
    assert all(torch.equal(buffer, before[name]) for name, buffer in module.named_buffers())


def test_running_statistics_that_are_read_after_they_were_written():
    module = nn.Sequential(nn.Linear(4, 4), nn.BatchNorm1d(4)).double()

    class Reads(nn.Module):
        def __init__(self):
            super().__init__()
            self.within = module

        def forward(self, x):
            return self.within(x) + self.within[1].running_mean + self.within[1].running_var

    report = checked(Reads())  # the gradient has nothing of them, but the loss has
    assert TRACED in report.notes[-1]
    assert not report.ok


def test_another_batch_size_is_another_trace():
    module = after(lambda y: y.sum(0) / len(y))
    for samples in (2, 5):
        assert_exact(checked(module, inputs=data(samples, 4)))


# ---- memory


def written_piece_by_piece(y):
    out = torch.zeros(5, 4, dtype=y.dtype)
    out[0] = y[0]
    out[1:3, ::2] = y[1:, ::2]
    out[3].copy_(2.0 * y[0])
    out[2] += y[1]
    out.t()[1].mul_(y[0, 0])
    return out


def views(y):
    out = y.clone()
    out[:, 0] = 0.0
    flat = out.view(-1)
    flat[3:5].exp_()
    return out + flat.view(3, 4).t().contiguous().t()


MEMORY = {
    "pieces": written_piece_by_piece,
    "views": views,
    "in place": lambda y: y.clone().mul_(2.0).add_(1.0).tanh_().mul(2.0).sub_(y.mean()),
    "masks": lambda y: y.masked_fill(y < 0.0, 0.5).clone().masked_fill_(y > 1.0, 0.1),
    "out=": lambda y: torch.mul(y.detach(), 2.0, out=torch.empty(3, 4, dtype=y.dtype)) * 0.0 + y,
    "as_strided": lambda y: y.as_strided((2, 3), (1, 2), 1),
    "expand": lambda y: (y[:1].expand(3, 4) * y.unsqueeze(0).permute(1, 0, 2).squeeze(1)).unbind(0)[1],
    "channels last": lambda y: functional.conv2d(
        y.reshape(1, 3, 2, 2).contiguous(memory_format=torch.channels_last), torch.full((2, 3, 2, 2), 0.3).double()
    ),
    "transposed in place": lambda y: y.clone().t_().unsqueeze_(0) * 2.0,
    "unfold": lambda y: y.unfold(1, 2, 1).prod(-1),
    "empty": lambda y: torch.cat([y, y[:0], torch.empty(0, dtype=y.dtype).reshape(0, 4)]),
}


@pytest.mark.parametrize("name", MEMORY)
def test_views_and_what_is_written_into_them(name):
    assert_exact(checked(after(MEMORY[name])))


class GivenOtherMemory(torch.autograd.Function):
    """The identity, by a tensor that is given the memory of another."""

    @staticmethod
    def forward(ctx, y):
        return torch.zeros(3, 4, dtype=y.dtype).set_(y.detach()).clone()

    @staticmethod
    def backward(ctx, grad):
        return grad


def test_memory_that_is_replaced_ends_the_trace():
    assert_falls_back(checked(after(GivenOtherMemory.apply)), "gives a tensor other memory")


def test_memory_that_is_written_to_by_numpy_ends_the_trace():
    def behind(y):
        numbers = y.detach().numpy()
        numbers *= 2.0
        return y * 2.0

    assert_falls_back(checked(after(behind)), "written into by something else than PyTorch")


# ---- what is not known, and how it is said


def test_an_operator_that_is_not_known_is_named():
    report = checked(after(lambda y: torch.linalg.svdvals(y)))
    assert report.ok, str(report)
    assert any(
        "_linalg_svd is differenced by itself" in note and "test_torch_trace.py" in note for note in report.notes
    )


def test_directions_need_exact_differences():
    report = checked(after(lambda y: torch.linalg.svdvals(y)), method="directional")
    assert report.ok, str(report)
    assert report.notes[-1] == "differenced as a Python function"
    assert checked(after(lambda y: y.tanh()), method="directional").ok


def test_steps_know_the_line_and_the_module():
    module = nn.Sequential(nn.Linear(4, 4), nn.LayerNorm(4), After(nn.Identity(), lambda y: y * y)).double()
    case = ModuleCase(module, squares, (data(3, 4),), None)
    at = {name: array_of(parameter) for name, parameter in module.named_parameters()}
    found = case.found(at)
    steps = case.traced(at, case.runner_in_double(found), Options.for_check()).program.steps
    names = [(step.source.name, step.source.file == __file__) for step in steps if step.name in ("matmul", "sqrt")]
    assert names == [("0 (Linear)", False), ("1 (LayerNorm)", False)]
    (product,) = [step for step in steps if step.source.name == "2 (After)"]
    assert product.name in ("multiply", "square")
    assert product.source.file == __file__


@pytest.mark.parametrize("size", [1e-6, 1e-9])
def test_an_error_in_one_entry_is_found(size):
    module = nn.Sequential(
        nn.Conv2d(1, 3, 3, padding=1), nn.BatchNorm2d(3), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(12, 3)
    ).double()

    def plant(grad):
        found = grad.clone()
        found[np.unravel_index(int(grad.abs().argmax()), grad.shape)] *= 1.0 + size
        return found

    right = checked(module, nn.CrossEntropyLoss(), data(4, 1, 4, 4), classes(4))
    assert_exact(right)
    module[0].weight.register_hook(plant)
    report = checked(module, nn.CrossEntropyLoss(), data(4, 1, 4, 4), classes(4))
    assert report.wrong == 1
    assert report.worst()[0][0] == "0.weight"


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_coarse_modules_are_compared_with_the_exact_gradient(dtype):
    module = nn.Sequential(nn.Linear(4, 6), nn.LayerNorm(6), nn.GELU(), nn.Linear(6, 3)).to(dtype)
    report = checked(module, nn.CrossEntropyLoss(), data(3, 4, dtype=dtype), classes(3))
    assert report.ok, str(report)
    assert TRACED in report.notes[-1]
    assert report.method == "chain"


def test_a_module_that_rounds_on_the_way():
    report = checked(after(lambda y: (y.float() * 2.0).double()))
    assert report.ok, str(report)
    assert any("a cast to float32 is left out" in note for note in report.notes)


@pytest.mark.parametrize("activation", [nn.Hardsigmoid(), nn.CELU(0.7)])
def test_slopes_that_pytorch_rounds_to_float32(activation):
    report = checked(after(activation))
    assert report.ok, str(report)
    assert any("computed in float32 in part" in note for note in report.notes)


# ---- methods


def test_the_methods():
    module = nn.Sequential(nn.Linear(4, 4), nn.LayerNorm(4)).double()
    for method in ("chain", "incremental"):
        report = checked(module, method=method)
        assert report.ok
        assert report.method == method
        assert TRACED in report.notes[-1]
    for options in ({"method": "direct"}, {"step": 1e-5}, {"trace": False}):
        report = checked(module, **options)
        assert report.ok
        assert report.method == "direct"
        assert "differenced as a Python function" in report.notes[-1]
    with pytest.raises(ValueError, match=r"method: 'units' is one of the compiled engine, but"):
        checked(module, method="units")


def test_a_network_that_is_described_is_no_trace():
    report = gf.torch.gradcheck(
        nn.Sequential(nn.Linear(4, 5), nn.Tanh(), nn.Linear(5, 3)).double(),
        nn.CrossEntropyLoss(),
        data(3, 4),
        classes(3),
    )
    assert report.ok
    assert TRACED not in report.notes[-1]
    assert report.method == "units"
