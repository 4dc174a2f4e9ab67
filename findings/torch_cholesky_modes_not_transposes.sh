#!/bin/sh
# torch 2.13.0 (CPU), float64: torch.linalg.cholesky(A) reads the lower triangle of A alone, so its derivative by an
# entry above the diagonal is zero. Reverse mode halves the derivative by each entry below the diagonal and gives the
# other half to its mirror image; forward mode gives a third number for each of the two. So the modes are no transposes
# of one another, and neither is what differences of single entries give. All agree along symmetric directions, along
# which one has to check it. jax 0.10.2 takes (A + A') / 2 first, for its values as well: there single entries can be
# differenced, and the two modes fit each other.
# Exits with 0 if that is so, with 1 if not.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install --quiet torch==2.13.0 jax==0.10.2 jaxlib==0.10.2 numpy==2.4.6
"$folder/venv/bin/python" - <<'PYTHON'
import sys

import jax
import numpy as np
import torch

jax.config.update("jax_enable_x64", True)
print("torch", torch.__version__, "jax", jax.__version__)
A = np.array([[4.0, 1.0], [1.0, 3.0]])
directions = {"below": [[0, 0], [1, 0]], "above": [[0, 1], [0, 0]], "both": [[0, 1], [1, 0]]}
directions = {name: np.array(direction, float) for name, direction in directions.items()}


def of_torch(V):
    """The slope of the sum of the factor along V: by differences, by forward mode, by reverse mode."""
    total = lambda A: torch.linalg.cholesky(A).sum()
    at, v = torch.tensor(A), torch.tensor(V)
    gradient = torch.autograd.grad(total(at.requires_grad_()), at)[0]
    at = at.detach()
    central = (total(at + 1e-6 * v) - total(at - 1e-6 * v)) / 2e-6
    return [x.item() for x in (central, torch.func.jvp(total, (at,), (v,))[1], (gradient * v).sum())]


def of_jax(V):
    total = lambda A: jax.numpy.linalg.cholesky(A).sum()
    central = (total(A + 1e-6 * V) - total(A - 1e-6 * V)) / 2e-6
    return [float(x) for x in (central, jax.jvp(total, (A,), (V,))[1], (jax.grad(total)(A) * V).sum())]


def agree(a, b):
    return abs(a - b) < 1e-8


as_stated = True
for framework, slopes in (("torch", of_torch), ("jax", of_jax)):
    found = {name: slopes(V) for name, V in directions.items()}
    for name, (central, forward, reverse) in found.items():
        print(f"{framework:5} {name:5}: differences {central:8.5f}, forward {forward:8.5f}, reverse {reverse:8.5f}")
    as_stated &= agree(found["both"][0], found["both"][1]) or framework == "torch"
    as_stated &= agree(found["both"][0], found["both"][2])
    if framework == "torch":
        (central, forward, reverse), above = found["below"], found["above"]
        as_stated &= abs(above[0]) < 1e-12 and not agree(forward, reverse) and not agree(above[1], above[2])
        as_stated &= agree(reverse, central / 2) and agree(above[2], central / 2)
        as_stated &= not agree(forward, central) and not agree(above[1], above[0])
    else:
        as_stated &= all(agree(row[0], row[1]) and agree(row[0], row[2]) for row in found.values())
sys.exit(0 if as_stated else 1)
PYTHON
