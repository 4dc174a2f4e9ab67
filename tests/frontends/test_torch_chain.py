"""gf.torch: modules that go through the compiled engine."""

from __future__ import annotations

from functools import partial

import pytest
from torch_data import Reader, assert_right, classes, data, double

import gradcheck_fast as gf

torch = pytest.importorskip("torch", reason="PyTorch is not installed")
nn, functional = torch.nn, torch.nn.functional
pytestmark = pytest.mark.usefixtures("one_thread_of_torch", "seed_of_torch")


@pytest.mark.parametrize(
    "activation",
    [
        nn.Identity(), nn.Sigmoid(), nn.Tanh(), nn.ReLU(), nn.ReLU(inplace=True), nn.LeakyReLU(), nn.ELU(), nn.SELU(),
        nn.Softplus(), nn.Softsign(), nn.SiLU(), nn.GELU(), nn.GELU("tanh"), nn.Hardtanh(), nn.ReLU6(), nn.Softmax(1),
        nn.Softmax(dim=-1), nn.Dropout(0.0), nn.Dropout(0.5).eval(),
    ],
    ids=str,
)  # fmt: skip
def test_every_activation(activation):
    module = double(nn.Linear(4, 5), activation, nn.Linear(5, 3, bias=False))
    assert_right(gf.torch.gradcheck(module, nn.MSELoss(), data(6, 4), data(6, 3)))


@pytest.mark.parametrize(
    "function",
    [
        torch.sigmoid, functional.sigmoid, torch.tanh, torch.relu, functional.relu, functional.leaky_relu,
        functional.elu, functional.selu, functional.softplus, functional.softsign, functional.silu, functional.gelu,
        partial(functional.gelu, approximate="tanh"), functional.hardtanh, functional.relu6,
        partial(functional.softmax, dim=1), lambda x: x.softmax(-1), lambda x: x.tanh(), lambda x: torch.flatten(x, 1),
    ],
)  # fmt: skip
def test_every_activation_as_a_function_in_forward(function):
    class Module(nn.Module):
        def __init__(self):
            super().__init__()
            self.first, self.second = nn.Linear(4, 5), nn.Linear(5, 3)

        def forward(self, x):
            return self.second(function(self.first(x)))

    assert_right(gf.torch.gradcheck(Module().double(), nn.MSELoss(), data(6, 4), data(6, 3)))


LOSSES = {
    "MSELoss": (nn.Identity(), functional.mse_loss, lambda: data(6, 3)),
    "L1Loss": (nn.Identity(), functional.l1_loss, lambda: data(6, 3)),
    "HuberLoss": (nn.Identity(), functional.huber_loss, lambda: data(6, 3)),
    "SmoothL1Loss": (nn.Identity(), functional.smooth_l1_loss, lambda: data(6, 3)),
    "BCELoss": (nn.Sigmoid(), functional.binary_cross_entropy, lambda: data(6, 3).sigmoid()),
    "BCEWithLogitsLoss": (nn.Identity(), functional.binary_cross_entropy_with_logits, lambda: data(6, 3).sigmoid()),
    "CrossEntropyLoss": (nn.Identity(), functional.cross_entropy, classes),
    "NLLLoss": (nn.LogSoftmax(1), functional.nll_loss, classes),
}


@pytest.mark.parametrize("reduction", ["mean", "sum"])
@pytest.mark.parametrize("name", LOSSES)
def test_every_loss_with_every_reduction(name, reduction):
    last, function, targets = LOSSES[name]
    module, X, y = double(nn.Linear(4, 5), nn.Tanh(), nn.Linear(5, 3), last), data(6, 4), targets()
    assert_right(gf.torch.gradcheck(module, getattr(nn, name)(reduction=reduction), X, y))
    assert_right(gf.torch.gradcheck(module, partial(function, reduction=reduction), X, y))


@pytest.mark.parametrize("name", LOSSES)
def test_every_loss_as_a_function(name):
    last, function, targets = LOSSES[name]
    assert_right(gf.torch.gradcheck(double(nn.Linear(4, 3), last), function, data(6, 4), targets()))


def test_huber_with_another_delta_and_classes_as_probabilities():
    module = double(nn.Linear(4, 3))
    assert_right(gf.torch.gradcheck(module, nn.HuberLoss(delta=0.3), data(6, 4), data(6, 3)))
    assert_right(gf.torch.gradcheck(module, nn.CrossEntropyLoss(), data(6, 4), data(6, 3).softmax(1)))


@pytest.mark.parametrize("batch_first", [True, False])
@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("layers, bidirectional", [(1, False), (2, False), (1, True), (2, True)])
@pytest.mark.parametrize("kind", [nn.RNN, partial(nn.RNN, nonlinearity="relu"), nn.GRU, nn.LSTM])
def test_recurrent_modules(kind, layers, bidirectional, bias, batch_first):
    module = kind(2, 3, layers, bias=bias, batch_first=batch_first, bidirectional=bidirectional).double()
    X = data(4, 5, 2)
    report = gf.torch.gradcheck(module, nn.MSELoss(), X, data(4, 5, 6 if bidirectional else 3))
    assert_right(report)
    assert {a.name: a.shape for a in report.arrays} == {n: tuple(p.shape) for n, p in module.named_parameters()}


@pytest.mark.parametrize(
    "cell, batch_first, read",
    [
        (nn.LSTM, True, lambda out: out[0][:, -1]),
        (nn.LSTM, True, lambda out: out[0][:, -1, :]),
        (nn.LSTM, False, lambda out: out[0][-1]),
        (nn.LSTM, True, lambda out: out[1][0][-1]),
        (nn.GRU, False, lambda out: out[1][-1]),
        (nn.RNN, True, lambda out: out[1][-1]),
    ],
)
def test_the_last_output_of_a_recurrent_module(cell, batch_first, read):
    module = Reader(cell(2, 4, 2, batch_first=batch_first), read).double()
    X = data(6, 5, 2) if batch_first else data(5, 6, 2)
    assert_right(gf.torch.gradcheck(module, nn.CrossEntropyLoss(), X, classes()))


@pytest.mark.parametrize("batch_first", [True, False])
def test_all_outputs_of_a_recurrent_module_in_a_forward_that_unpacks_them(batch_first):
    def read(out):
        sequence, (_, _) = out
        return sequence

    module = Reader(nn.LSTM(2, 4, batch_first=batch_first, bidirectional=True), read).double()
    assert_right(gf.torch.gradcheck(module, nn.MSELoss(reduction="sum"), data(6, 5, 2), data(6, 5, 3)))


def test_images_flattened_first():
    module = double(nn.Flatten(), nn.Linear(8, 5), nn.ReLU(), nn.Linear(5, 3))
    assert_right(gf.torch.gradcheck(module, nn.CrossEntropyLoss(), data(6, 2, 2, 2), classes()))


def test_a_lone_linear_of_float32_with_names_and_shapes_of_pytorch():
    module, X = nn.Linear(4, 3), data(6, 4, dtype=torch.float32)
    report = gf.torch.gradcheck(module, nn.CrossEntropyLoss(), X, classes())
    assert_right(report, error=1e-6)
    assert {a.name: a.shape for a in report.arrays} == {"weight": (3, 4), "bias": (3,)}
    assert report.numerical["weight"].shape == (3, 4)


def test_only_parameters_that_require_a_gradient_are_checked():
    module = double(nn.Linear(4, 5), nn.Tanh(), nn.Linear(5, 3))
    module[0].requires_grad_(False)
    module[2].bias.requires_grad_(False)
    report = gf.torch.gradcheck(module, nn.CrossEntropyLoss(), data(6, 4), classes())
    assert_right(report)
    assert [a.name for a in report.arrays] == ["2.weight"]


def test_options_are_those_of_gradcheck():
    module, X, y = nn.Linear(4, 3).double(), data(6, 4), classes()
    seen = []
    report = gf.torch.gradcheck(
        module, nn.CrossEntropyLoss(), X, y, method="incremental", step=2.0**-20, error_bars=True, n_threads=1,
        progress=seen.append,
    )  # fmt: skip
    assert (report.method, report.step) == ("incremental", 2.0**-20)
    assert report.error_bars["weight"].shape == (3, 4)
    assert seen[-1] == 1.0


def test_kinks_are_those_of_the_parameters_where_they_are():
    module = double(nn.Linear(4, 5), nn.ReLU(), nn.Linear(5, 3))
    with torch.no_grad():
        module[0].weight[1] = 0.0
        module[0].bias[1] = 0.0
    report = gf.torch.gradcheck(module, nn.CrossEntropyLoss(), data(6, 4), classes(), error_bars=True)
    assert_right(report, error=1.0)
    assert {a.name: a.at_kink for a in report.arrays} == {"0.weight": 4, "0.bias": 1, "2.weight": 0, "2.bias": 0}
