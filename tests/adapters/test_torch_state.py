"""gf.torch: each evaluation begins in the state in which a module was given, whatever it keeps."""

from __future__ import annotations

from collections import deque
from concurrent.futures import ProcessPoolExecutor
from enum import Enum
from multiprocessing import get_context

import numpy as np
import pytest
from torch_data import Stateful, squares, training

import gradcheck_fast as gf

torch = pytest.importorskip("torch", reason="PyTorch is not installed")
nn = torch.nn
pytestmark = pytest.mark.usefixtures("one_thread_of_torch", "seed_of_torch")


class Containers(nn.Module):
    """It keeps what it saw, in all kinds of containers, and counts on it."""

    def __init__(self):
        super().__init__()
        self.dense = nn.Linear(4, 4)
        self.seen, self.last, self.by_name, self.names = [], deque(maxlen=2), {}, set()
        self.counts = np.ones(2)
        self.tensors = [torch.zeros(4)]

    def forward(self, x):
        self.seen.append(x)
        self.last.append(x)
        self.names.add(len(self.names))
        self.by_name[len(self.by_name)] = x
        self.counts += 1
        self.tensors[0] += 1
        return self.dense(x) * (len(self.seen) + len(self.names) + len(self.by_name) + self.counts[0]) + self.tensors[0]


class Views(nn.Module):
    """It writes into a tensor and reads what it wrote through another, which lies in the same memory."""

    def __init__(self):
        super().__init__()
        self.dense, self.state = nn.Linear(4, 4), torch.zeros(2, 4)
        self.row = self.state[1]

    def forward(self, x):
        with torch.no_grad():
            self.state += 1
        return self.dense(x) * self.row


class WrittenUnderhand(nn.Module):
    """Its buffer is written by ``.data``, of which PyTorch keeps no count, and takes another shape."""

    def __init__(self):
        super().__init__()
        self.dense = nn.Linear(4, 4)
        self.register_buffer("scale", torch.ones(1))

    def forward(self, x):
        self.scale.data = torch.cat([self.scale.data * 2, torch.ones(1)])
        return self.dense(x) * self.scale.sum()


class KeepsItsGraph(nn.Module):
    """It writes into a tensor of its own what depends on its parameters."""

    def __init__(self):
        super().__init__()
        self.dense, self.memory = nn.Linear(4, 4), torch.zeros(5, 4)

    def forward(self, x):
        self.memory += self.dense(x)
        return self.memory.tanh()


class OwnGenerator(nn.Module):
    def __init__(self):
        super().__init__()
        self.dense, self.generator = nn.Linear(4, 4), torch.Generator()

    def forward(self, x):
        return self.dense(x) * torch.rand(4, generator=self.generator)


def of_dtype(make, dtype):
    """With its plain attributes, which to() passes over."""
    module = make().to(dtype)
    for name, value in vars(module).items():
        if isinstance(value, torch.Tensor):
            setattr(module, name, value.to(dtype))
    if make is Views:
        module.row = module.state[1]
    if make is Containers:
        module.tensors = [torch.zeros(4, dtype=dtype)]
    return module


@pytest.mark.parametrize("make", [Stateful, Containers, Views, WrittenUnderhand, KeepsItsGraph, OwnGenerator])
@pytest.mark.parametrize("dtype, error", [(torch.float64, 1e-7), (torch.float32, 1e-5)])
def test_what_forward_keeps_does_not_reach_the_next_evaluation(make, dtype, error):
    module, X, _, snapshot = training(lambda: of_dtype(make, dtype))
    report = gf.torch.gradcheck(module, squares, X.detach().to(dtype))
    assert report.ok, str(report)
    assert report.relative_error < error
    snapshot.assert_unchanged()


class Kind(Enum):
    PLAIN = 1
    SQUARED = 2


class Keyed(nn.Module):
    """It holds what a deep copy shares with the original."""

    def __init__(self):
        super().__init__()
        self.dense, self.kind, self.dtype = nn.Linear(4, 4), Kind.SQUARED, torch.float32

    def forward(self, x):
        return self.dense(x.to(self.dtype)) ** self.kind.value


def test_what_copies_have_in_common_with_the_original_is_left_alone():
    before = dict(vars(Kind.SQUARED))
    assert gf.torch.gradcheck(Keyed(), squares, torch.randn(5, 4))
    assert vars(Kind.SQUARED) == before


def test_a_stateful_module_in_processes():
    module, X = Stateful(), torch.randn(5, 4)
    expected = gf.torch.gradcheck(module, squares, X)
    with ProcessPoolExecutor(1, get_context("spawn")) as executor:
        found = gf.torch.gradcheck(module, squares, X, executor=executor)
    assert expected.ok
    np.testing.assert_array_equal(found.numerical["dense.weight"], expected.numerical["dense.weight"])
