#!/bin/sh
# jax 0.10.2 (CPU), float64: x ** p for an array of exponents is, at x = 0 and p = 0, a constant 1, and its derivative
# is 0 where the exponents are whole numbers, and not a number where they are floating-point numbers of the same
# values, in both modes. jax.numpy.vander makes such exponents by itself, so that the gradient through a matrix of
# powers is not a number wherever an entry of x is exactly zero, even if only the column x ** 1 is used, for the
# missing number is multiplied by zero.
# Exits with 0 if that is so, with 1 if not.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install --quiet jax==0.10.2 jaxlib==0.10.2 numpy==2.4.6
"$folder/venv/bin/python" - <<'PYTHON'
import sys

import jax
import numpy as np
from jax import numpy as jnp

jax.config.update("jax_enable_x64", True)
print("jax", jax.__version__)
ways = {
    "x ** [0, 1, 2]": lambda x: x[:, None] ** jnp.arange(3),
    "x ** [0., 1., 2.]": lambda x: x[:, None] ** jnp.arange(3.0),
    "vander": lambda x: jnp.vander(x, 3, increasing=True),
    "its column x ** 1": lambda x: jnp.vander(x, 3, increasing=True)[:, 1:2],
}
found = {}
for name, way in ways.items():
    for x in ([1e-9, 2.0], [0.0, 2.0]):
        total = lambda x: way(x).sum()
        at = jnp.array(x)
        values, gradient = np.asarray(way(at)), np.asarray(jax.grad(total)(at))
        slope = float(jax.jvp(total, (at,), (jnp.array([1.0, 0.0]),))[1])
        exact = np.array([1.0, 1.0 if "column" in name else 1 + 2 * x[1]])
        print(f"{name:18} at {x}: gradient {gradient.tolist()}, forward {slope}, right {exact.tolist()}")
        assert np.isfinite(values).all()
        found[name, x[0]] = np.allclose(gradient, exact), np.isnan(gradient).tolist(), bool(np.isnan(slope))
right = (True, [False, False], False)
expected = dict.fromkeys(found, right)
for name in ("x ** [0., 1., 2.]", "vander"):
    expected[name, 0.0] = (False, [True, False], True)
expected["its column x ** 1", 0.0] = (False, [True, False], False)
sys.exit(0 if found == expected else 1)
PYTHON
