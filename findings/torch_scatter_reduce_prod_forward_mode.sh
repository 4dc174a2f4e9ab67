#!/bin/sh
# torch 2.13.0 (CPU), float64: forward mode of torch.scatter_reduce(..., "prod") gives zeros for every direction, by
# the tensor that is reduced into and by the source, and says nothing; reverse mode is right. The other reductions
# (sum, mean, amax, amin) are right in both modes. A check of reverse mode against forward mode accuses the right one.
# Exits with 0 if that is so, with 1 if not.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install --quiet torch==2.13.0 numpy==2.4.6
"$folder/venv/bin/python" - <<'PYTHON'
import sys

import torch

print("torch", torch.__version__)
base = torch.tensor([2.0, -1.0], dtype=torch.float64)
source = torch.tensor([3.0, 5.0, 7.0], dtype=torch.float64)
index = torch.tensor([0, 1, 1])


def slopes(function, at):
    """The derivatives of the sum by each entry: by differences, in reverse and in forward mode."""
    total = lambda x: function(x).sum()
    units = torch.eye(len(at), dtype=at.dtype)
    differences = torch.stack([(total(at + 1e-6 * unit) - total(at - 1e-6 * unit)) / 2e-6 for unit in units])
    forward = torch.stack([torch.func.jvp(total, (at,), (unit,))[1] for unit in units])
    return differences, torch.func.grad(total)(at), forward


def same(a, b):
    return bool((a - b).abs().max() < 1e-7)


as_stated = True
for reduction in ("sum", "mean", "amax", "amin", "prod"):
    for name, function, at in (
        ("base", lambda x: torch.scatter_reduce(x, 0, index, source, reduction), base),
        ("source", lambda x: torch.scatter_reduce(base, 0, index, x, reduction), source),
    ):
        differences, reverse, forward = slopes(function, at)
        print(f"{reduction:4} by the {name:6}: reverse {reverse.tolist()}, forward {forward.tolist()}")
        as_stated &= same(reverse, differences)
        is_zero = not forward.any() and not same(forward, differences)
        as_stated &= is_zero if reduction == "prod" else same(forward, reverse)
sys.exit(0 if as_stated else 1)
PYTHON
