#!/bin/sh
# jax 0.10.2 (CPU), float64: jax.scipy.special.boxcox(x, lmbda) is smooth in lmbda, with slope log(x)^2 / 2 at lmbda =
# 0, but there the gradient is exactly zero: the branch that computes log(x) does not depend on lmbda. So a fit of
# lmbda that starts at 0 (the logarithm) starts with no gradient. At lmbda = 1e-4 it is right. boxcox1p is alike; the
# gradients by x are right.
# Exits with 0 if that is so, with 1 if not.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install --quiet jax==0.10.2 jaxlib==0.10.2 numpy==2.4.6 scipy==1.17.1 mpmath==1.3.0
"$folder/venv/bin/python" - <<'PYTHON'
import math
import sys

import jax
from jax.scipy.special import boxcox, boxcox1p

jax.config.update("jax_enable_x64", True)
print("jax", jax.__version__)


def slope_by_lambda(x, lmbda):
    """Its series: the derivative of (x^lmbda - 1) / lmbda."""
    log = math.log(x)
    return sum(log ** (n + 1) * n * lmbda ** (n - 1) / math.factorial(n + 1) for n in range(1, 30))


as_stated = True
for x in (0.2, 3.0, 20.0):
    for lmbda in (0.0, 1e-4, 0.1, 1.0):
        right = slope_by_lambda(x, lmbda)
        found = [float(jax.grad(boxcox, 1)(x, lmbda)), float(jax.grad(boxcox1p, 1)(x - 1, lmbda))]
        by_x = float(jax.grad(boxcox)(x, lmbda))
        difference = float(boxcox(x, lmbda + 1e-4) - boxcox(x, lmbda - 1e-4)) / 2e-4
        print(f"x = {x:4}, lmbda = {lmbda}: gradients by it {found}, right {right:.6f}, differences {difference:.6f}")
        as_stated &= abs(difference - right) < 1e-5 * (1 + abs(right)) and abs(by_x - x ** (lmbda - 1)) < 1e-12
        as_stated &= found == [0.0, 0.0] if lmbda == 0 else all(abs(slope - right) < 1e-6 for slope in found)
sys.exit(0 if as_stated else 1)
PYTHON
