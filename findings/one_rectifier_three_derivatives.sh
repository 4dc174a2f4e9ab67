#!/bin/sh
# torch 2.13.0 and jax 0.10.2, on the CPU, in float64: max(x, 0) can be written in several ways, which have the same
# values everywhere, and at x = 0 automatic differentiation gives three different derivatives for them. Each is right,
# for any number from 0 to 1 is one of the slopes there; but a network that is rewritten from one way into another gets
# other gradients wherever its biases and inputs are zero.
# Exits with 0 if that is so, with 1 if not.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install --quiet torch==2.13.0 jax==0.10.2 numpy
"$folder/venv/bin/python" - <<'PYTHON'
import sys

import jax
import torch
from jax import numpy as jnp

jax.config.update("jax_enable_x64", True)
print("torch", torch.__version__, "jax", jax.__version__)
of_torch = {
    "relu(x)": (torch.relu, 0.0),
    "maximum(x, 0)": (lambda x: torch.maximum(x, torch.zeros_like(x)), 0.5),
    "clamp(x, min=0)": (lambda x: torch.clamp(x, min=0.0), 1.0),
    "where(x > 0, x, 0)": (lambda x: torch.where(x > 0, x, torch.zeros_like(x)), 0.0),
    "where(x < 0, 0, x)": (lambda x: torch.where(x < 0, torch.zeros_like(x), x), 1.0),
    "(x + |x|) / 2": (lambda x: (x + x.abs()) / 2, 0.5),
}
of_jax = {
    "nn.relu(x)": (jax.nn.relu, 0.0),
    "maximum(x, 0)": (lambda x: jnp.maximum(x, 0.0), 0.5),
    "where(x < 0, 0, x)": (lambda x: jnp.where(x < 0, 0.0, x), 1.0),
    "(x + |x|) / 2": (lambda x: (x + jnp.abs(x)) / 2, 1.0),
}
as_stated = True
for name, (function, expected) in of_torch.items():
    x = torch.zeros((), dtype=torch.float64, requires_grad=True)
    (slope,) = torch.autograd.grad(function(x), x)
    values = function(torch.tensor([-2.0, 0.0, 3.0], dtype=torch.float64)).tolist()
    print(f"torch {name:20} {slope.item()}")
    as_stated &= slope.item() == expected and values == [0.0, 0.0, 3.0]
for name, (function, expected) in of_jax.items():
    slope, values = float(jax.grad(function)(0.0)), function(jnp.array([-2.0, 0.0, 3.0])).tolist()
    print(f"jax   {name:20} {slope}")
    as_stated &= slope == expected and values == [0.0, 0.0, 3.0]
sys.exit(0 if as_stated else 1)
PYTHON
