#!/bin/sh
# torch 2.13.0, jax 0.10.2 and ml_dtypes 0.6.0 (CPU): in float8_e4m3fn, which has no infinity, torch turns what is
# beyond 464, and infinity itself, into 448; jax and ml_dtypes turn it into not-a-number. In float8_e5m2 all three give
# infinity. The gradient that goes back through a cast to float8 and back is cast alike: a cotangent of 500 becomes 448
# in the one and not a number in the other, and one of 1e-4 becomes 0 in both. So a network with casts has other
# gradients by framework, and none of them is the identity.
# Exits with 0 if that is so, with 1 if not.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install --quiet torch==2.13.0 jax==0.10.2 jaxlib==0.10.2 ml_dtypes==0.6.0 numpy==2.4.6
"$folder/venv/bin/python" - <<'PYTHON'
import sys

import jax
import ml_dtypes
import numpy as np
import torch
from jax import numpy as jnp

print("torch", torch.__version__, "jax", jax.__version__, "ml_dtypes", ml_dtypes.__version__)
numbers = np.array([1.0, 448.0, 463.0, 465.0, 500.0, 1e6, np.inf, -500.0, 1e-4], np.float32)


def by_torch(x, name):
    return torch.tensor(x).to(getattr(torch, name)).to(torch.float32).numpy()


def by_jax(x, name):
    return np.asarray(jnp.asarray(x).astype(getattr(jnp, name)).astype(jnp.float32))


def by_ml_dtypes(x, name):
    with np.errstate(all="ignore"):
        return x.astype(getattr(ml_dtypes, name)).astype(np.float32)


def torch_gradient(cotangent, name):
    x = torch.ones(len(cotangent), requires_grad=True)
    y = x.to(getattr(torch, name)).to(torch.float32)
    return torch.autograd.grad(y, x, torch.tensor(cotangent))[0].numpy()


def jax_gradient(cotangent, name):
    cast = lambda x: x.astype(getattr(jnp, name)).astype(jnp.float32)
    return np.asarray(jax.vjp(cast, jnp.ones(len(cotangent)))[1](jnp.asarray(cotangent))[0])


found = {
    (way.__name__, name): way(numbers, name)
    for name in ("float8_e4m3fn", "float8_e5m2")
    for way in (by_torch, by_jax, by_ml_dtypes, torch_gradient, jax_gradient)
}
print(f"{'':30}", numbers.tolist())
for (way, name), values in found.items():
    print(f"{way:16}{name:14}", values.tolist())
nan, inf = np.nan, np.inf
saturated = np.array([1, 448, 448, 448, 448, 448, 448, -448, 0], np.float32)
not_numbers = np.array([1, 448, 448, nan, nan, nan, nan, nan, 0], np.float32)
wide = np.array([1, 448, 448, 448, 512, inf, inf, -512, 7 / 65536], np.float32)
same = lambda a, b: np.array_equal(a, b, equal_nan=True)
sys.exit(0 if all(
    same(values, wide if name == "float8_e5m2" else saturated if "torch" in way else not_numbers)
    for (way, name), values in found.items()
) else 1)
PYTHON
