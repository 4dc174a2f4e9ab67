#!/bin/sh
# jax 0.10.2, float64: the gradient of jax.scipy.special.digamma is right for positive numbers and for small negative
# ones (to 1e-15), but far below zero it is another function: at -17.2 it is -0.056 where the slope is 28.5, at -30.4 it
# is -0.032 where it is 10.9. The values of digamma there are right to 1e-15. A network that maps counts or parameters
# through digamma without keeping them positive is trained on that.
# Exits with 0 if that is so, with 1 if not.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install --quiet jax==0.10.2 jaxlib==0.10.2 mpmath==1.3.0
"$folder/venv/bin/python" - <<'PYTHON'
import sys

import jax
import mpmath
from jax.scipy.special import digamma

jax.config.update("jax_enable_x64", True)
print("jax", jax.__version__)


def errors(x):
    """The relative error of the value of digamma, and of its slope."""
    value, slope = float(digamma(x)), float(jax.grad(digamma)(x))
    exact, exact_slope = float(mpmath.psi(0, x)), float(mpmath.psi(1, x))
    print(f"{x:6} value {value:9.5f} ({exact:9.5f})  slope {slope:9.5f} ({exact_slope:9.5f})")
    return abs(value / exact - 1.0), abs(slope / exact_slope - 1.0)


near = [errors(x) for x in (3.2, 0.5, -0.5, -1.3, -2.5)]
far = [errors(x) for x in (-17.2, -30.4)]
values_are_right = all(value < 1e-13 for value, _ in near + far)
sys.exit(0 if values_are_right and all(s < 1e-12 for _, s in near) and all(s > 0.9 for _, s in far) else 1)
PYTHON
