"""gf.torch: what is run are copies, and nothing of the user's changes, whatever a module shares and keeps."""

from __future__ import annotations

import threading

import pytest
from torch_data import Stateful, squares, training

import gradcheck_fast as gf

torch = pytest.importorskip("torch", reason="PyTorch is not installed")
nn, functional = torch.nn, torch.nn.functional
parametrizations = torch.nn.utils.parametrizations
pytestmark = pytest.mark.usefixtures("one_thread_of_torch", "seed_of_torch")


class Calls(nn.Module):
    """Calls its modules one after another."""

    def forward(self, x):
        for module in self.calls:
            x = torch.tanh(module(x))
        return x


def twice_in_a_sequential():
    layer = nn.Linear(4, 4)
    return nn.Sequential(layer, nn.Tanh(), layer)


def under_two_names():
    module = Calls()
    module.a = module.b = nn.Linear(4, 4)
    module.calls = nn.ModuleList([module.b, module.a])
    return module


def a_list_of_the_same():
    module = Calls()
    module.calls = nn.ModuleList([nn.Linear(4, 4)] * 3)
    return module


def in_a_plain_list():
    """Which PyTorch does not look into."""
    module = Calls()
    module.head = nn.Linear(4, 4)
    module.calls = [module.head, nn.Tanh(), module.head]
    return module


def tied_weights():
    module = nn.Sequential(nn.Linear(4, 4), nn.Tanh(), nn.Linear(4, 4))
    module[2].weight = module[0].weight
    return module


def tied_to_an_embedding():
    class Language(nn.Module):
        def __init__(self):
            super().__init__()
            self.embed, self.out = nn.Embedding(4, 3), nn.Linear(3, 4, bias=False)
            self.out.weight = self.embed.weight

        def forward(self, x):
            return self.out(self.embed(x.argsort(1)))

    return Language()


def a_parameter_in_memory_of_another():
    module = nn.Sequential(nn.Linear(4, 4), nn.Tanh(), nn.Linear(4, 4))
    module[2].weight.data = module[0].weight.data
    return module


def parametrised(make, **options):
    return lambda: nn.Sequential(make(nn.Linear(4, 4), **options), nn.Tanh(), nn.Linear(4, 2))


def parametrised_and_shared():
    layer = parametrizations.weight_norm(nn.Linear(4, 4))
    return nn.Sequential(layer, nn.Tanh(), layer)


def hooked():
    module = nn.Sequential(nn.Linear(4, 4), nn.Tanh())
    module[0].register_forward_pre_hook(lambda module, inputs: (2 * inputs[0],))
    module[0].register_forward_hook(lambda module, inputs, output: output + 1)
    return module


def hooked_on_the_way_back():
    """By hooks that change nothing."""
    module = twice_in_a_sequential()
    module[1].register_full_backward_hook(lambda module, of_inputs, of_outputs: None)
    module[0].weight.register_hook(lambda grad: grad.clone())
    return module


def compiled():
    return torch.compile(twice_in_a_sequential(), backend="eager")


def partly_frozen():
    module = twice_in_a_sequential()
    module[0].bias.requires_grad_(False)
    return module


MODULES = [
    twice_in_a_sequential, under_two_names, a_list_of_the_same, in_a_plain_list, tied_weights, tied_to_an_embedding,
    a_parameter_in_memory_of_another, parametrised_and_shared, hooked, hooked_on_the_way_back, partly_frozen,
    pytest.param(parametrised(parametrizations.weight_norm), id="weight_norm"),
    pytest.param(parametrised(nn.utils.weight_norm), id="old weight_norm",
                 marks=pytest.mark.filterwarnings("ignore:.*weight_norm:FutureWarning")),
    pytest.param(lambda: parametrised(parametrizations.spectral_norm)().eval(), id="spectral_norm"),
    pytest.param(lambda: parametrised(nn.utils.spectral_norm)().eval(), id="old spectral_norm",
                 marks=pytest.mark.filterwarnings("ignore:.*spectral_norm:FutureWarning")),
    pytest.param(parametrised(parametrizations.orthogonal), id="orthogonal"),
    pytest.param(lambda: nn.Sequential(nn.Linear(4, 4), nn.BatchNorm1d(4), nn.Linear(4, 2)), id="batch norm"),
    pytest.param(lambda: nn.Sequential(nn.Linear(4, 20), nn.Dropout(), nn.Linear(20, 2)), id="dropout"),
    pytest.param(lambda: Stateful(), id="stateful"),
    pytest.param(compiled, marks=pytest.mark.long),
]  # fmt: skip


@pytest.mark.parametrize("make", MODULES)
def test_a_right_gradient_passes_and_nothing_is_changed(make):
    module, X, foreign, snapshot = training(make)
    report = gf.torch.gradcheck(module, lambda out: out.square().mean() + foreign.sum(), X)
    assert report.ok, str(report)
    assert [a.name for a in report.arrays] == [name for name, p in module.named_parameters() if p.requires_grad]
    snapshot.assert_unchanged()


@pytest.mark.parametrize("make", MODULES)
@pytest.mark.parametrize("call", [1, 2, 5])
@pytest.mark.parametrize("where", ["forward", "loss_fn"])
def test_nothing_is_changed_if_some_call_raises(make, call, where):
    calls = iter(range(1, 1000))  # not of the module, a copy of which would count anew

    def fail(place):
        if place == where and next(calls) == call:
            raise ZeroDivisionError(f"a {place} that fails")

    class Failing(nn.Module):
        def __init__(self):
            super().__init__()
            self.within = make()

        def forward(self, x):
            out = self.within(x)
            fail("forward")
            return out

    module, X, foreign, snapshot = training(Failing)

    def loss_fn(out):
        fail("loss_fn")
        return out.square().mean() + foreign.sum()

    if call < 5:
        with pytest.raises(ZeroDivisionError, match=f"a {where} that fails"):
            gf.torch.gradcheck(module, loss_fn, X)
    else:  # the operations are traced
        report = gf.torch.gradcheck(module, loss_fn, X)
        assert report.ok, str(report)
        assert f"a {where} that fails" in report.notes[-1]
    snapshot.assert_unchanged()


@pytest.mark.parametrize("make", [twice_in_a_sequential, under_two_names, tied_weights, hooked, Stateful])
def test_nothing_is_changed_if_the_targets_do_not_fit(make):
    module, X, _, snapshot = training(make)
    with pytest.raises((ValueError, RuntimeError)):
        gf.torch.gradcheck(module, nn.CrossEntropyLoss(), X, torch.full((17,), 99))
    snapshot.assert_unchanged()


@pytest.mark.parametrize("make", [twice_in_a_sequential, tied_weights, parametrised_and_shared])
def test_a_wrong_gradient_of_a_shared_weight_is_found(make):
    module, X, _, snapshot = training(make)
    for parameter in module.parameters():
        parameter.register_hook(lambda grad: 1.01 * grad)
    report = gf.torch.gradcheck(module, squares, X)
    assert report.verdict == "FAIL"
    snapshot.assert_unchanged()


@pytest.mark.parametrize("make", [parametrizations.spectral_norm, nn.utils.spectral_norm])
@pytest.mark.filterwarnings("ignore:.*spectral_norm:FutureWarning")
def test_what_forward_computes_without_a_gradient_is_said(make):
    """In training spectral_norm takes a step towards vectors that depend on the weight, which has no gradient."""
    torch.manual_seed(0)
    module = nn.Sequential(nn.BatchNorm1d(4), make(nn.Linear(4, 4)))
    held = gf.torch.gradcheck(module, lambda out: out.sin().sum(), torch.randn(5, 4))
    assert held.ok, str(held)
    assert any("computed with gradients switched off, is held fixed" in note for note in held.notes)
    report = gf.torch.gradcheck(module, lambda out: out.sin().sum(), torch.randn(5, 4), trace=False)
    assert report.verdict == "FAIL"
    note = next(note for note in report.notes if "forward writes into" in note)
    assert "_u" in note
    assert "running_mean" not in note
    assert gf.torch.gradcheck(module.eval(), lambda out: out.sin().sum(), torch.randn(5, 4)).ok


# ---- what is asked for must be the copy


def test_a_module_that_cannot_be_copied():
    module = nn.Sequential(nn.Linear(4, 4), nn.Tanh())
    module[1].lock = threading.Lock()
    with pytest.raises(TypeError, match=r"module: the attribute 1\.lock cannot be copied .*pickle.*__deepcopy__"):
        gf.torch.gradcheck(module, squares, torch.randn(5, 4))


class Closure(nn.Module):
    def __init__(self):
        super().__init__()
        self.dense = nn.Linear(4, 4)
        self.call = lambda x: self.dense(x)

    def forward(self, x):
        return self.call(x)


class PartlyClosure(Closure):
    def forward(self, x):
        return self.dense(x) + self.call(x)


@pytest.mark.parametrize("make", [Closure, PartlyClosure])
def test_a_forward_that_calls_the_original_by_a_closure(make):
    module, X, _, snapshot = training(make)
    with pytest.raises(ValueError, match=r"depends on the parameter dense\.weight of the module itself.*closure"):
        gf.torch.gradcheck(module, squares, X)
    snapshot.assert_unchanged()


def test_a_penalty_that_is_computed_of_the_original():
    module, X, _, snapshot = training(twice_in_a_sequential)
    with pytest.raises(ValueError, match=r"depends on the parameter 0\.weight of the module itself.*with the output"):
        gf.torch.gradcheck(module, lambda out: squares(out) + 0.1 * module[0].weight.square().sum(), X)
    snapshot.assert_unchanged()


def test_a_loss_that_is_a_method_of_the_module_is_that_of_the_copy():
    class WithLoss(nn.Linear):
        def loss(self, out):
            return squares(out) + 0.1 * self.weight.square().sum()

    module = WithLoss(4, 4)
    assert gf.torch.gradcheck(module, module.loss, torch.randn(5, 4))


def test_lazy_parameters():
    with pytest.raises(ValueError, match="weight: it has no shape yet; call the module once"):
        gf.torch.gradcheck(nn.LazyLinear(3), squares, torch.randn(5, 4))
