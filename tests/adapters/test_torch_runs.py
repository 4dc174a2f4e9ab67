"""How often a check runs the module, which is most of its time."""

import sys

import pytest

torch = pytest.importorskip("torch")

from torch import nn  # noqa: E402

import gradcheck_fast as gf  # noqa: E402

#: One run with backward, one without, one that is traced, three beside the parameters, and one in the end.
RUNS = 7


class Counted(nn.Module):
    def __init__(self, calls):
        super().__init__()
        self.convolution, self.affine, self.count = nn.Conv1d(1, 2, 3), nn.Linear(8, 3), calls.append

    def forward(self, x):
        self.count(1)
        return self.affine(torch.relu(self.convolution(x)).flatten(1))


@pytest.mark.parametrize(("dtype", "runs"), [(torch.float64, RUNS), (torch.float32, RUNS + 1)])
def test_a_module_is_run_no_more_often_than_needed(dtype, runs):
    """In another dtype than float64 there is one run more, to see whether the code takes float64."""
    torch.manual_seed(0)
    calls = Calls()
    module = Counted(calls).to(dtype)
    x, y = torch.randn(5, 1, 6, dtype=dtype), torch.randint(0, 3, (5,))
    report = gf.torch.gradcheck(module, nn.CrossEntropyLoss(), x, y)
    assert report.ok, str(report)
    assert report.method == "chain"
    assert len(calls) == runs + ("torch._dynamo" in sys.modules)  # compiled code is run before it is observed


class Calls(list):
    """A list that copies of a module share."""

    def __deepcopy__(self, memo):
        return self
