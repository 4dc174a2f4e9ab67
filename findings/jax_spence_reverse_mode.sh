#!/bin/sh
# jax 0.10.2 (CPU), float64: the gradient of jax.scipy.special.spence (reverse mode) is not a number wherever 1 < x <=
# 2, where forward mode is right: log(x) / (1 - x). At x = 1 both give 0 instead of -1. The values are right to 1e-12
# everywhere, and outside that interval so are both modes. expn(0, x) has a derivative for x > 1 only: up to 1 both
# modes are not a number. A check whose points lie outside passes.
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
from jax.scipy.special import expn, spence

jax.config.update("jax_enable_x64", True)
print("jax", jax.__version__)
mpmath.mp.dps = 30
NAN = "not a number"


def judged(function, exact, x):
    """How the value, and the slope in reverse and in forward mode, compare to those of mpmath."""
    value, slope = float(exact(mpmath.mpf(x))), float(mpmath.diff(exact, x))
    numbers = float(function(x)), float(jax.grad(function)(x)), float(jax.jvp(function, (x,), (1.0,))[1])
    print(f"x = {x:5}: value {numbers[0]:9.6f}, reverse {numbers[1]:9.6f}, forward {numbers[2]:9.6f} ({slope:9.6f})")
    what = lambda own, right: NAN if own != own else "right" if abs(own - right) < 1e-12 * (1 + abs(right)) else own
    return what(numbers[0], value), what(numbers[1], slope), what(numbers[2], slope)


dilogarithm = lambda x: mpmath.re(mpmath.polylog(2, 1 - x))
integral = lambda x: mpmath.exp(-x) / x
found = {("spence", x): judged(spence, dilogarithm, x) for x in (0.3, 0.999, 1.0, 1.001, 1.5, 2.0, 2.001, 7.0)}
found |= {("expn", x): judged(lambda x: expn(0, x), integral, x) for x in (0.3, 1.0, 1.001, 4.0)}
expected = dict.fromkeys(found, ("right", "right", "right"))
expected |= {("spence", x): ("right", NAN, "right") for x in (1.001, 1.5, 2.0)}
expected["spence", 1.0] = ("right", 0.0, 0.0)
expected |= {("expn", x): ("right", NAN, NAN) for x in (0.3, 1.0)}
sys.exit(0 if found == expected else 1)
PYTHON
