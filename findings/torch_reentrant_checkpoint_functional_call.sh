#!/bin/sh
# torch 2.13.0: of a module with torch.utils.checkpoint(..., use_reentrant=True), called by torch.func.functional_call,
# backward() gives the tensors that were passed for the checkpointed layer no gradient, and says nothing: it adds the
# gradient to the module's own parameters instead. With use_reentrant=False the tensors get it.
# Exits with 0 if that is so, with 1 if not.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install --quiet torch==2.13.0 numpy
"$folder/venv/bin/python" -W error - <<'PYTHON'
import sys

import torch
from torch import nn
from torch.utils.checkpoint import checkpoint

print("torch", torch.__version__)


class Checkpointed(nn.Module):
    def __init__(self, reentrant):
        super().__init__()
        self.first, self.second, self.reentrant = nn.Linear(4, 4), nn.Linear(4, 3), reentrant

    def forward(self, x):
        return checkpoint(self.second, self.first(x), use_reentrant=self.reentrant)


def who_has_gradients(reentrant):
    module = Checkpointed(reentrant)
    passed = {name: parameter.detach().clone().requires_grad_() for name, parameter in module.named_parameters()}
    torch.func.functional_call(module, passed, (torch.ones(2, 4),)).sum().backward()
    own = {name for name, parameter in module.named_parameters() if parameter.grad is not None}
    given = {name for name, tensor in passed.items() if tensor.grad is not None}
    print(f"use_reentrant={reentrant}: of the tensors passed in", sorted(given), "have a gradient, of the module's own",
          sorted(own))
    return given, own


first, second = {"first.weight", "first.bias"}, {"second.weight", "second.bias"}
as_expected = who_has_gradients(False) == (first | second, set())
sys.exit(0 if as_expected and who_has_gradients(True) == (first, second) else 1)
PYTHON
