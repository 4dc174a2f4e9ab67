"""What the tests of gf.torch share."""

from __future__ import annotations

import pytest

torch = pytest.importorskip("torch", reason="PyTorch is not installed")
nn = torch.nn

COMPILED = "differenced by the compiled engine, which knows all layers and the loss"


def data(*shape, dtype=torch.float64):
    return torch.randn(*shape, dtype=dtype)


def classes(samples=6, count=3):
    return torch.randint(0, count, (samples,))


def double(*layers):
    return nn.Sequential(*layers).double()


def assert_right(report, way=COMPILED, error=1e-13):
    assert report.ok, str(report)
    assert report.relative_error < error
    assert way in report.notes[-1]


class Reader(nn.Module):
    """A recurrent module, and what `read` takes of what it gives."""

    def __init__(self, cell, read):
        super().__init__()
        self.cell, self.read, self.dense = cell, read, nn.Linear(cell.hidden_size * (1 + cell.bidirectional), 3)

    def forward(self, x):
        return self.dense(self.read(self.cell(x)))


def squares(out):
    return out.square().sum()


class Stateful(nn.Module):
    """Its output depends on what it kept of the last call, and on how many calls there were."""

    def __init__(self):
        super().__init__()
        self.dense, self.hidden, self.calls = nn.Linear(4, 4), torch.zeros(5, 4), 0

    def forward(self, x):
        self.calls += 1
        self.hidden = torch.tanh(self.dense(x) + self.hidden) * self.calls
        return self.hidden


class Snapshot:
    """All that a user could see of a module and its training."""

    def __init__(self, module, optimizer, others):
        self._module, self._optimizer, self._others = module, optimizer, others
        self.before = self._look()

    def _tensors(self):
        named = {**dict(self._module.named_parameters()), **dict(self._module.named_buffers())}
        return {**named, **self._others}

    def _look(self):
        children = dict(self._module.named_modules())
        tensors = self._tensors()
        return {
            "identities": {name: id(tensor) for name, tensor in tensors.items()},
            "values": {name: tensor.detach().clone() for name, tensor in tensors.items()},
            "leaves": {name: (t.is_leaf, t.requires_grad, t._version) for name, t in tensors.items()},
            "grads": {name: id(tensor.grad) for name, tensor in tensors.items()},
            "numbers of grads": {n: t.grad.clone() for n, t in tensors.items() if t.grad is not None},
            "in the optimizer": [id(p) for group in self._optimizer.param_groups for p in group["params"]],
            "modes": {name: child.training for name, child in children.items()},
            "objects": {name: {k: id(v) for k, v in vars(child).items()} for name, child in children.items()},
            "hooks": {name: len(child._forward_hooks) for name, child in children.items()},
            "random numbers": torch.get_rng_state(),
        }  # fmt: skip

    def assert_unchanged(self):
        now = self._look()
        for what, before in self.before.items():
            torch.testing.assert_close(now[what], before, rtol=0, atol=0, msg=lambda said, what=what: f"{what}: {said}")


def training(make):
    """A module in the middle of a training: with gradients, an optimizer, and data that require a gradient."""
    module = make()
    X, foreign = torch.randn(5, 4).requires_grad_(), torch.randn(2).requires_grad_()
    X.grad, foreign.grad = torch.ones(5, 4), torch.ones(2)
    for parameter in module.parameters():
        parameter.grad = torch.ones_like(parameter)
    optimizer = torch.optim.SGD(module.parameters(), lr=0.1, momentum=0.9)
    return module, X, foreign, Snapshot(module, optimizer, {"X": X, "foreign": foreign})
