#!/bin/sh
# jax 0.10.2 (CPU), float64: jax.scipy.special.bessel_jn is right to 1e-12 at small positive numbers, and its
# derivative there is not: at z = 0.001 reverse mode says that the slope of J_0 is -51000 instead of -0.0005 and that
# of J_1 -25 instead of 0.5; forward mode says that it is not a number. So it is up to z = 0.015; from 0.02 on both are
# right. Who starts at small arguments (a phase, a radius) takes one step of that size.
# Exits with 0 if that is so, with 1 if not.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install --quiet jax==0.10.2 jaxlib==0.10.2 numpy==2.4.6 scipy==1.17.1 mpmath==1.3.0
"$folder/venv/bin/python" - <<'PYTHON'
import sys

import jax
import mpmath
from jax.scipy.special import bessel_jn

jax.config.update("jax_enable_x64", True)
print("jax", jax.__version__)
as_stated = True
for order in (0, 1, 3):
    J = lambda z: bessel_jn(z, v=order)[order]
    for z in (1e-4, 1e-3, 1e-2, 0.015, 0.02, 0.1, 1.0, 5.0):
        value, exact_value = float(J(z)), float(mpmath.besselj(order, z))
        exact = float(mpmath.diff(lambda t: mpmath.besselj(order, t), z))
        reverse, forward = float(jax.grad(J)(z)), float(jax.jvp(J, (z,), (1.0,))[1])
        print(f"J_{order} at {z:6}: value {value:.6e} ({exact_value:.6e}), slope {reverse:.6e} ({exact:.6e})")
        print(f"    in forward mode {forward:.6e}")
        off_by, forward_off_by = abs(reverse / exact - 1.0), abs(forward / exact - 1.0)
        as_stated &= abs(value / exact_value - 1.0) < 1e-12
        as_stated &= max(off_by, forward_off_by) < 1e-9 if z >= 0.02 else off_by > 1.0 and forward != forward
sys.exit(0 if as_stated else 1)
PYTHON
