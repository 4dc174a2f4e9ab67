#!/bin/sh
# torch 2.13.0: after torch.func.functional_call on a module that is in two places of another, such as
# Sequential(layer, Tanh(), layer), the module's own weight is no parameter any more, but a tensor that was passed in.
# Expected: the module is left as it was, as it is where each module is in one place.
# Exits with 0 if the weight has been replaced, with 1 if it has not.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install --quiet torch==2.13.0 numpy
"$folder/venv/bin/python" - <<'PYTHON'
import sys

import torch
from torch import nn

print("torch", torch.__version__)


def weight_after_a_call(*layers):
    module = nn.Sequential(*layers)
    before = layers[0].weight
    passed = {name: parameter.detach().clone() for name, parameter in module.named_parameters()}
    torch.func.functional_call(module, passed, (torch.ones(2, 4),))
    after = layers[0].weight
    print(f"{len(layers)} layers, {len(set(map(id, layers)))} of them different:", type(after).__name__,
          "the same as before" if after is before else "another tensor",
          "(one of those passed in)" if any(after is tensor for tensor in passed.values()) else "")
    return after is before and isinstance(after, nn.Parameter)


layer = nn.Linear(4, 4)
apart = weight_after_a_call(nn.Linear(4, 4), nn.Tanh(), nn.Linear(4, 4))
shared = weight_after_a_call(layer, nn.Tanh(), layer)
sys.exit(0 if apart and not shared else 1)
PYTHON
