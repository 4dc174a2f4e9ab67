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
