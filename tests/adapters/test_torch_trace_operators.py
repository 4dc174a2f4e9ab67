"""Each operator of ATen that a trace knows: what it makes of it is what PyTorch computes, and differentiates."""

from __future__ import annotations

import runpy
from pathlib import Path

import pytest

torch = pytest.importorskip("torch", reason="PyTorch is not installed")
nn = torch.nn

from torch_calls import CALLS  # noqa: E402

import gradcheck_fast as gf  # noqa: E402
from gradcheck_fast.adapters.common import TRACED  # noqa: E402

pytestmark = pytest.mark.usefixtures("one_thread_of_torch", "seed_of_torch")


class Called(nn.Module):
    """A function of a linear map of a parameter."""

    def __init__(self, function, shape):
        super().__init__()
        self.function = function
        self.x = nn.Parameter(torch.randn(shape, dtype=torch.float64))

    def forward(self, scale):
        return self.function(self.x * scale)


def weighted(out):
    """A loss that tells the entries apart."""
    return (out * torch.linspace(0.3, 1.0, out.numel(), dtype=out.dtype).reshape(out.shape)).sum()


@pytest.mark.parametrize("name", CALLS)
def test_an_operator_is_exact(name):
    function, shape = CALLS[name]
    report = gf.torch.gradcheck(Called(function, shape), weighted, torch.tensor(0.9).double(), n_threads=1)
    assert report.ok, str(report)
    assert TRACED in report.notes[-1]
    assert report.method == "chain", report.notes
    coarse = any("computed in float32 in part" in note for note in report.notes)
    assert report.relative_error < (1e-7 if coarse else 2e-13)
    assert not any("differenced by itself" in note or "the rule of" in note for note in report.notes), report.notes


def test_the_table_of_operators_is_up_to_date():
    tool = runpy.run_path(str(Path(__file__).parents[2] / "tools" / "torch_operators.py"))
    assert tool["FILE"].read_text() == tool["text"](), "run tools/torch_operators.py"
