"""gf.torch: entries that are equal where an operator puts them in order."""

from __future__ import annotations

import pytest
from torch_data import data

import gradcheck_fast as gf

torch = pytest.importorskip("torch", reason="PyTorch is not installed")
nn = torch.nn
pytestmark = pytest.mark.usefixtures("one_thread_of_torch", "seed_of_torch")
ORDERS = {"sort": lambda y: y.sort(1)[0], "topk": lambda y: y.topk(3)[0]}


class Ordered(nn.Module):
    """A layer, two of whose outputs are equal if that is asked for, and what brings its outputs into an order."""

    def __init__(self, order, ties):
        super().__init__()
        self.layer, self.order = nn.Linear(3, 4).double(), order
        if ties:
            with torch.no_grad():
                self.layer.weight[1], self.layer.bias[1] = self.layer.weight[0], self.layer.bias[0]

    def forward(self, x):
        return self.order(self.layer(x))


def checked(module):
    return gf.torch.gradcheck(module, lambda y: (y * torch.arange(y.shape[1])).sum(), data(2, 3), n_threads=1)


@pytest.mark.parametrize("name", ORDERS)
def test_ties_that_break_are_named(name):
    note = checked(Ordered(ORDERS[name], True)).notes[-1]
    assert "differenced as a Python function" in note
    assert f"{name} puts entries in order that are equal" in note
    assert "test_torch_trace_ties.py line" in note


def test_ties_that_last_are_no_reason_to_fall_back():
    report = checked(Ordered(lambda y: y.relu().sort(1)[0], False))
    assert report.ok, str(report)
    assert (report.method, report.relative_error < 1e-12) == ("chain", True), report.notes
