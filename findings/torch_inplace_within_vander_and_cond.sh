#!/bin/sh
# torch 2.13.0 (CPU): torch.vander(x, n) for n > 1, and torch.linalg.cond(A, p) for p of "fro", 1, -1, inf and -inf,
# have values, a grad_fn and right derivatives in forward mode, but backward raises RuntimeError: a tensor that it
# needs has been modified by an inplace operation. No such operation is in the caller's code; it is in these functions.
# torch.linalg.vander and cond for p of 2, -2 and "nuc" give the gradient.
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
torch.manual_seed(0)
x = torch.tensor([0.5, 2.0, -1.0], dtype=torch.float64)
A = torch.randn(3, 3, dtype=torch.float64)
functions = {
    "vander": (lambda x: torch.vander(x, 3).sum(), x),
    "linalg.vander": (lambda x: torch.linalg.vander(x).sum(), x),
}
for p in ("fro", 1, -1, float("inf"), -float("inf"), 2, -2, "nuc"):
    functions[f"linalg.cond, {p}"] = lambda A, p=p: torch.linalg.cond(A, p), A


def backward(function, at):
    at = at.clone().requires_grad_()
    value = function(at)
    assert value.grad_fn is not None
    try:
        return torch.autograd.grad(value, at)[0]
    except RuntimeError as error:
        return str(error)


right, raising = set(), set()
for name, (function, at) in functions.items():
    v = torch.randn_like(at)
    central = (function(at + 1e-6 * v) - function(at - 1e-6 * v)) / 2e-6
    forward = torch.func.jvp(function, (at,), (v,))[1]
    assert abs(forward - central) < 1e-5 * (1 + abs(central)), name
    gradient = backward(function, at)
    if isinstance(gradient, str):
        raising |= {name} if "modified by an inplace operation" in gradient else set()
    else:
        right |= {name} if abs((gradient * v).sum() - forward) < 1e-9 * (1 + abs(forward)) else set()
    print(f"{name:18} slope {central:10.5f}, forward {forward:10.5f}, backward", end=" ")
    print("raises" if isinstance(gradient, str) else f"{(gradient * v).sum():10.5f}")
expected = {"vander"} | {f"linalg.cond, {p}" for p in ("fro", 1, -1, float("inf"), -float("inf"))}
sys.exit(0 if raising == expected and right == set(functions) - expected else 1)
PYTHON
