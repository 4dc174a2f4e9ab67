"""gf.torch: arguments that do not fit, workers, and checkpoints."""

from __future__ import annotations

import os
import subprocess
import sys
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from multiprocessing import get_context

import numpy as np
import pytest

import gradcheck_fast as gf

torch = pytest.importorskip("torch", reason="PyTorch is not installed")
nn = torch.nn
pytestmark = pytest.mark.usefixtures("one_thread_of_torch", "seed_of_torch")

# ---- bad input


def test_arguments_that_do_not_fit():
    module, loss, X, y = nn.Linear(4, 3), nn.MSELoss(), torch.ones(6, 4), torch.ones(6, 3)
    with pytest.raises(TypeError, match=r"module: expected a torch\.nn\.Module"):
        gf.torch.gradcheck(lambda x: x, loss, X, y)
    with pytest.raises(TypeError, match="loss_fn: expected a function or loss module"):
        gf.torch.gradcheck(module, "mse", X, y)
    with pytest.raises(ValueError, match="module: no parameter requires a gradient"):
        gf.torch.gradcheck(nn.Tanh(), loss, X, X)
    with pytest.raises(TypeError, match=r"loss_fn: expected it to give a tensor of one real number.*\(6, 3\)"):
        gf.torch.gradcheck(module, nn.MSELoss(reduction="none"), X, y)
    with pytest.raises(TypeError, match=r"loss_fn: expected it to give a tensor of one real number, got 1\.5"):
        gf.torch.gradcheck(module, lambda out: 1.5, X)
    with pytest.raises(ValueError, match="loss_fn: its value does not depend on any parameter"):
        gf.torch.gradcheck(module, lambda out: out.detach().sum(), X)
    with pytest.raises(TypeError, match="loss_fn: gives float32, though it was given float64"):
        gf.torch.gradcheck(module, lambda out: out.float().sum(), X)
    with pytest.raises(ValueError, match="method: 'units' is one of the compiled engine, but loss_fn is none of"):
        gf.torch.gradcheck(module, lambda out: out.sum(), X, method="units")
    with pytest.raises(ValueError, match="method: unknown name"):
        gf.torch.gradcheck(module, loss, X, y, method="unit")


FORKS = """
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
import torch
import gradcheck_fast as gf

class Sine(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.linear = torch.nn.Linear(4, 3)

    def forward(self, x):
        return torch.sin(self.linear(x))

torch.sin(torch.randn(10**6)).sum()  # its threads are there before the fork
inputs, targets = torch.randn(20000, 4), torch.randn(20000, 3)
with ProcessPoolExecutor(1, get_context("fork")) as executor:
    assert gf.torch.gradcheck(Sine().double(), torch.nn.MSELoss(), inputs.double(), targets.double(), executor=executor)
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_forked_process_does_not_wait_for_threads_that_it_does_not_have():
    subprocess.run([sys.executable, "-W", "ignore", "-c", FORKS], check=True, timeout=120)


def times_threads(x):
    return float(x.sum()) * torch.get_num_threads()


def test_pytorch_uses_one_thread_in_each_worker():
    before = torch.get_num_threads()
    with ProcessPoolExecutor(1, get_context("spawn"), torch.set_num_threads, (3,)) as executor:
        for options, threads in (({}, 1.0), ({"n_threads": 2}, 2.0)):
            found = gf.numerical_gradient(times_threads, np.ones(3), method="direct", executor=executor, **options)
            np.testing.assert_allclose(found, threads)
        assert executor.submit(torch.get_num_threads).result() == 3
    assert torch.get_num_threads() == before


@pytest.mark.parametrize("kind", ["chain", "function"])
def test_several_threads_and_a_checkpoint(kind, tmp_path):
    """Of a module that is differenced as a function there is one copy, whose parameters are set for each value."""
    middle = nn.Tanh() if kind == "chain" else nn.LayerNorm(6)
    module = nn.Sequential(nn.Linear(4, 6), middle, nn.Linear(6, 3)).double()
    arguments = module, nn.CrossEntropyLoss(), torch.randn(8, 4).double(), torch.randint(3, (8,))
    expected = gf.torch.gradcheck(*arguments)
    assert expected.ok
    with ThreadPoolExecutor(4) as threads:
        found = gf.torch.gradcheck(*arguments, executor=threads, checkpoint=tmp_path / "run.npz")
    assert {**found.to_dict(), "seconds": None} == {**expected.to_dict(), "seconds": None}
    assert (tmp_path / "run.npz").exists()
