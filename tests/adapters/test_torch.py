"""gf.torch: gradients of modules, whatever they do."""

from __future__ import annotations

import copy

import numpy as np
import pytest
from torch_data import COMPILED, Reader, assert_right, classes, data, double

import gradcheck_fast as gf

torch = pytest.importorskip("torch", reason="PyTorch is not installed")
nn, functional = torch.nn, torch.nn.functional
pytestmark = pytest.mark.usefixtures("one_thread_of_torch", "seed_of_torch")


class Residual(nn.Module):
    def __init__(self):
        super().__init__()
        self.dense = nn.Linear(4, 4)

    def forward(self, x):
        return x + self.dense(x)


class Scaled(nn.Linear):
    def __init__(self, *widths):
        super().__init__(*widths)
        self.scale = nn.Parameter(torch.ones(()))

    def forward(self, x):
        return self.scale * super().forward(x)


class Tied(nn.Module):
    def __init__(self):
        super().__init__()
        self.first, self.second = nn.Linear(4, 4), nn.Linear(4, 4)
        self.second.weight = self.first.weight

    def forward(self, x):
        return self.second(self.first(x).tanh())


class Branching(Residual):
    def forward(self, x):
        return self.dense(x) if x.sum() > 1e9 else self.dense(-x)


@pytest.mark.parametrize(
    "layers, why",
    [
        ([nn.Unflatten(1, (1, 4)), nn.Conv1d(1, 2, 3), nn.BatchNorm1d(2), nn.ReLU(), nn.Flatten(), nn.Linear(4, 3)],
         "module 1 is Conv1d(1, 2, kernel_size=(3,), stride=(1,)), which no Network has"),
        ([nn.Linear(4, 5), nn.LeakyReLU(0.2), nn.Linear(5, 3)],
         "module 1 is LeakyReLU(negative_slope=0.2), which no Network has"),
        ([nn.Linear(4, 5), nn.LayerNorm(5), nn.Linear(5, 3)], "module 1 is LayerNorm"),
        ([nn.Linear(4, 5), nn.Tanh(), nn.Sigmoid(), nn.Linear(5, 3)],
         "module 2 is an activation that does not come right after a Linear"),
        ([nn.Tanh(), nn.Linear(4, 3)], "module 0 is an activation that does not come right after a Linear"),
        ([nn.Linear(4, 3), nn.LogSoftmax(1)], "a log-softmax and NLLLoss are known only together"),
        ([Residual(), nn.Linear(4, 3)], "add() in forward is no link of a chain"),
        ([Scaled(4, 3)], "in forward is no"),
        ([Tied(), nn.Linear(4, 3)], "a parameter is used in more than one place"),
        ([Branching(), nn.Linear(4, 3)], "forward cannot be traced"),
    ],
)  # fmt: skip
@pytest.mark.parametrize("dtype, error", [(torch.float64, 1e-7), (torch.float32, 1e-4)])
def test_what_the_engine_does_not_know_is_a_python_function(layers, why, dtype, error):
    module = nn.Sequential(*copy.deepcopy(layers)).to(dtype)
    with torch.no_grad():
        for parameter in module.parameters():  # the layers were made when the tests were collected
            parameter.normal_(std=0.5)
    report = gf.torch.gradcheck(module, nn.CrossEntropyLoss(), data(6, 4, dtype=dtype), classes())
    assert_right(report, why, error)
    assert [a.name for a in report.arrays] == [name for name, _ in module.named_parameters()]


@pytest.mark.parametrize(
    "loss_fn, targets, why",
    [
        (lambda x, y: ((x - y) ** 4).mean(), torch.eye(6, 3), "loss_fn is none of PyTorch's losses"),
        (lambda x: x.square().sum(), None, "loss_fn is none of PyTorch's losses"),
        (nn.CrossEntropyLoss(weight=torch.ones(3)), torch.arange(6) % 3, "CrossEntropyLoss has weight="),
        (nn.CrossEntropyLoss(label_smoothing=0.1), torch.arange(6) % 3, "CrossEntropyLoss has label_smoothing=0.1"),
        (nn.CrossEntropyLoss(), torch.tensor([0, 1, 2, 0, 1, -100]), "y: -100 at index [5]"),
        (nn.SmoothL1Loss(beta=0.5), torch.eye(6, 3), "SmoothL1Loss has beta=0.5"),
        (nn.PoissonNLLLoss(), torch.eye(6, 3), "loss_fn is none of PyTorch's losses"),
    ],
)
def test_losses_that_the_engine_does_not_know(loss_fn, targets, why):
    report = gf.torch.gradcheck(nn.Linear(4, 3), loss_fn, data(6, 4, dtype=torch.float32), targets)
    assert_right(report, why, 1e-4)


def test_recurrent_modules_read_otherwise():
    both_ends = Reader(nn.LSTM(2, 3, batch_first=True, bidirectional=True), lambda out: out[0][:, -1]).double()
    report = gf.torch.gradcheck(both_ends, nn.CrossEntropyLoss(), data(6, 4, 2), classes())
    assert_right(report, "module cell: neither all of its outputs are read nor the last one", 1e-6)


def test_weights_that_are_computed_before_each_forward():
    module = double(nn.Linear(4, 5), nn.Tanh(), nn.Linear(5, 3))
    pytest.importorskip("torch.nn.utils.prune").random_unstructured(module[0], "weight", amount=0.3)
    report = gf.torch.gradcheck(module, nn.CrossEntropyLoss(), data(6, 4), classes())
    assert_right(report, "the weights of a layer are no parameters, but computed", 1e-7)
    assert [a.name for a in report.arrays] == ["0.bias", "0.weight_orig", "2.weight", "2.bias"]


def test_several_inputs():
    module = nn.Bilinear(2, 3, 2).double()
    report = gf.torch.gradcheck(module, nn.MSELoss(), (data(6, 2), data(6, 3)), data(6, 2))
    assert_right(report, "inputs and targets are not one tensor each", 1e-7)


def test_what_the_trace_does_not_show_is_found_by_the_cost():
    """A forward hook changes what the module gives: the network described is another, and is not used."""
    module = double(nn.Linear(4, 3))
    module[0].register_forward_hook(lambda module, inputs, output: 2 * output)
    report = gf.torch.gradcheck(module, nn.MSELoss(), data(6, 4), data(6, 3))
    assert_right(report, "the network that describes it has the cost", 1e-7)


def test_a_target_that_is_broadcast_is_as_pytorch_has_it():
    with pytest.warns(UserWarning, match="target size"):
        report = gf.torch.gradcheck(double(nn.Linear(4, 1)), nn.MSELoss(), data(6, 4), data(6))
    assert_right(report, "the network that describes it has the cost", 1e-7)


@pytest.mark.parametrize(
    "after, way, method", [([], COMPILED, "incremental"), ([nn.LayerNorm(5)], "LayerNorm", "direct")]
)
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
def test_a_sample_has_the_numbers_of_a_complete_check(after, way, method, dtype):
    module = nn.Sequential(nn.Linear(40, 10), nn.Tanh(), nn.Linear(10, 5), *after).to(dtype)
    module[2].weight.requires_grad_(False)
    case = (module, nn.MSELoss(), data(6, 40, dtype=dtype), data(6, 5, dtype=dtype))
    complete, part = (gf.torch.gradcheck(*case, method=method, **some) for some in ({}, {"sample": 30, "seed": 5}))
    assert part.ok, str(part)
    assert way in part.notes[-1]
    assert [(array.name, array.checked) for array in part.arrays][:2] == [("0.weight", 30), ("0.bias", 10)]
    known = ~np.isnan(part.numerical["0.weight"])
    assert known.sum() == 30
    expected = complete.numerical["0.weight"][known]
    np.testing.assert_allclose(part.numerical["0.weight"][known], expected, rtol=0 if way == COMPILED else 1e-6)


# ---- what is wrong is found


class WrongSigmoid(torch.autograd.Function):
    """Its backward takes the slope at the input: x (1 - x)."""

    @staticmethod
    def forward(ctx, x):
        ctx.save_for_backward(x)
        return torch.sigmoid(x)

    @staticmethod
    def backward(ctx, grad):
        (x,) = ctx.saved_tensors
        return grad * x * (1 - x)


class OffByAFactor(torch.autograd.Function):
    """x @ W, where the gradient of W[2, 1] is 1.001 times too large."""

    @staticmethod
    def forward(ctx, x, W):
        ctx.save_for_backward(x, W)
        return x @ W

    @staticmethod
    def backward(ctx, grad):
        x, W = ctx.saved_tensors
        of_W = x.mT @ grad
        of_W[2, 1] *= 1.001
        return grad @ W.mT, of_W


class WithWrongSigmoid(nn.Module):
    def __init__(self, *after):
        super().__init__()
        self.first, self.after, self.last = nn.Linear(4, 5), nn.Sequential(*after), nn.Linear(5, 3)

    def forward(self, x):
        return self.last(self.after(WrongSigmoid.apply(self.first(x))))


@pytest.mark.parametrize("after, way", [([], "has no line"), ([nn.LayerNorm(5)], "LayerNorm")])
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
def test_the_line_of_a_wrong_backward_in_a_module_is_named(after, way, dtype):
    module = WithWrongSigmoid(*after).to(dtype)
    report = gf.torch.gradcheck(module, nn.CrossEntropyLoss(), data(6, 4, dtype=dtype), classes())
    assert report.verdict == "FAIL"
    assert way in report.notes[-1]
    assert {a.name for a in report.arrays if a.wrong} == {"first.weight", "first.bias"}
    assert "return torch.sigmoid(x)" in report.diagnoses[0].cause
    assert [line for line in report.lines if "wrong" in {row.verdict for row in line.rows}]


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
def test_one_wrong_entry_of_a_module(dtype):
    class Layer(nn.Module):
        def __init__(self):
            super().__init__()
            self.W = nn.Parameter(torch.randn(4, 3))

        def forward(self, x):
            return OffByAFactor.apply(x, self.W)

    report = gf.torch.gradcheck(Layer().to(dtype), nn.CrossEntropyLoss(), data(6, 4, dtype=dtype), classes())
    assert (report.verdict, report.wrong) == ("FAIL", 1)
    assert report.worst()[0][:2] == ("W", (2, 1))


def test_a_mistake_in_one_entry_is_named_as_pytorch_indexes_it():
    """Our weights are the transposes of PyTorch's."""
    module, X, y = double(nn.Linear(4, 3)), data(6, 4), classes()

    def doubled(gradient):
        gradient = gradient.clone()
        gradient[2, 1] *= 2
        return gradient

    module[0].weight.register_hook(doubled)
    report = gf.torch.gradcheck(module, nn.CrossEntropyLoss(), X, y, method="units")
    assert report.wrong == 1
    assert report.worst()[0][:2] == ("0.weight", (2, 1))
    assert COMPILED in report.notes[-1]
    assert gf.torch.gradcheck(module, nn.CrossEntropyLoss(), X, y).worst()[0][:2] == ("0.weight", (2, 1))


@pytest.mark.parametrize("method", ["auto", "directional"])
def test_a_gradient_that_is_zero_but_for_rounding_is_not_wrong(method):
    """Of a bias before a batch normalisation."""
    module = nn.Sequential(nn.Linear(4, 5), nn.BatchNorm1d(5), nn.Linear(5, 3))
    X = data(6, 4, dtype=torch.float32)
    report = gf.torch.gradcheck(module, nn.CrossEntropyLoss(), X, classes(), method=method)
    assert report.ok
    assert {a.name: a.status for a in report.arrays}["0.bias"] == "nothing to check"


# ---- nothing is changed


def state_of(module):
    tensors = {**dict(module.named_parameters()), **dict(module.named_buffers())}
    return (
        {name: tensor.detach().clone() for name, tensor in tensors.items()},
        {name: None if p.grad is None else p.grad.clone() for name, p in module.named_parameters()},
        {name: child.training for name, child in module.named_modules()},
        torch.get_rng_state(),
    )


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("more", [[], [nn.BatchNorm1d(5)]])
def test_the_module_the_data_and_the_random_numbers_stay_as_they_are(more, training):
    module = nn.Sequential(nn.ReLU(inplace=True), nn.Linear(4, 5), *more, nn.Tanh(), nn.Linear(5, 3)).train(training)
    module[-1].weight.grad = torch.ones(3, 5)
    X, y = data(6, 4, dtype=torch.float32), classes()
    X_before, before = X.clone(), state_of(module)
    own = dict(module.named_parameters())
    with torch.no_grad():
        assert gf.torch.gradcheck(module, nn.CrossEntropyLoss(), X, y)
        assert not torch.is_grad_enabled()
    for here, there in zip(before, state_of(module), strict=True):
        torch.testing.assert_close(there, here, rtol=0, atol=0)
    assert all(own[name] is tensor for name, tensor in module.named_parameters())
    assert all(tensor.requires_grad for tensor in own.values())
    assert torch.equal(X, X_before)


class Normalised(nn.Module):
    """Its forward writes into its parameters, and it has a constant that is neither a parameter nor a buffer."""

    def __init__(self):
        super().__init__()
        self.table, self.mix = nn.Embedding(4, 3, max_norm=0.1), torch.randn(3, 3)

    def forward(self, x):
        return self.table(x) @ self.mix


@pytest.mark.parametrize("dtype, error", [(torch.float64, 1e-7), (torch.float32, 1e-4)])
def test_parameters_that_forward_writes_into(dtype, error):
    module = Normalised().to(dtype)
    module.mix = module.mix.to(dtype)
    with torch.no_grad():
        module.table.weight *= 0.05 / module.table.weight.norm(dim=1, keepdim=True)
        module.table.weight[3] *= 100
    before, mix = module.table.weight.detach().clone(), module.mix.clone()
    report = gf.torch.gradcheck(module, lambda out: out.square().sum(), torch.tensor([0, 1, 2]))
    assert_right(report, "loss_fn is none of", error)
    gf.torch.gradcheck(module, lambda out: out.square().sum(), torch.tensor([3]))
    assert torch.equal(module.table.weight, before)
    assert torch.equal(module.mix, mix)


def test_what_forward_keeps_is_kept_by_the_copy_alone():
    class Keeping(Residual):
        def forward(self, x):
            self.kept = self.dense(x)
            return self.kept

    module = Keeping().double()
    assert_right(gf.torch.gradcheck(module, nn.MSELoss(), data(6, 4), data(6, 4)))
    assert not hasattr(module, "kept")


def test_random_numbers_stay_as_they_are_also_where_there_is_dropout():
    module, before = nn.Sequential(nn.Linear(4, 3), nn.Dropout()), torch.get_rng_state()
    report = gf.torch.gradcheck(module, nn.CrossEntropyLoss(), torch.ones(6, 4), torch.arange(6) % 3)
    assert report.ok
    assert "random numbers were frozen" in report.notes[-2]
    assert torch.equal(torch.get_rng_state(), before)
    assert gf.torch.gradcheck(module.eval(), nn.CrossEntropyLoss(), torch.ones(6, 4), torch.arange(6) % 3)
