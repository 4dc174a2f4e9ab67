#!/bin/sh
# torch 2.13.0 (CPU): torch.autograd.functional.jacobian has three answers to the Jacobian of a holomorphic function. By
# default it raises ("grad can be implicitly created only for real scalar outputs"), with vectorize=True it gives the
# conjugate of the complex derivative, and with vectorize=True, strategy="forward-mode" the derivative itself.
# torch.func.jacrev and jacfwd refuse complex inputs, and complex outputs of a real variable. JAX 0.10.2 has the
# derivative in both of its modes, with holomorphic=True.
# Exits with 0 if that is so, with 1 if not.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install --quiet torch==2.13.0 jax==0.10.2 jaxlib==0.10.2 numpy==2.4.6
"$folder/venv/bin/python" -W ignore - <<'PYTHON'
import sys

import jax
import jax.numpy as jnp
import numpy as np
import torch

jax.config.update("jax_enable_x64", True)
print("torch", torch.__version__, "jax", jax.__version__)
z = np.array([1.0 + 2.0j, 0.5 - 1.0j])
given, real = torch.tensor(z), torch.tensor([0.3, 0.4], dtype=torch.float64)
square, phase = (lambda z: z**2), (lambda x: torch.exp(1j * x))
by_functional = torch.autograd.functional.jacobian


def diagonal(find):
    try:
        found = find()
        return np.diagonal(np.asarray(found.resolve_conj() if isinstance(found, torch.Tensor) else found))
    except Exception as error:
        return f"{type(error).__name__}: {error}"


ways = {
    "functional.jacobian": lambda: by_functional(square, given),
    "vectorize=True": lambda: by_functional(square, given, vectorize=True),
    'strategy="forward-mode"': lambda: by_functional(square, given, vectorize=True, strategy="forward-mode"),
    "func.jacrev": lambda: torch.func.jacrev(square)(given),
    "func.jacfwd": lambda: torch.func.jacfwd(square)(given),
    "func.jacfwd, real z": lambda: torch.func.jacfwd(phase)(real),
    "jax.jacrev": lambda: jax.jacrev(square, holomorphic=True)(jnp.asarray(z)),
    "jax.jacfwd": lambda: jax.jacfwd(square, holomorphic=True)(jnp.asarray(z)),
}
found = {name: diagonal(way) for name, way in ways.items()}
print("the derivative of z ** 2 is", 2 * z)
for name, what in found.items():
    print(f"{name:24} {what}")
derivative = ('strategy="forward-mode"', "jax.jacrev", "jax.jacfwd")
refused = ("functional.jacobian", "func.jacrev", "func.jacfwd", "func.jacfwd, real z")
as_stated = (
    all(np.array_equal(found[name], 2 * z) for name in derivative)
    and np.array_equal(found["vectorize=True"], 2 * z.conj())
    and all(isinstance(found[name], str) and found[name].startswith("RuntimeError") for name in refused)
    and "real scalar outputs" in found["functional.jacobian"]
)
sys.exit(0 if as_stated else 1)
PYTHON
