#!/bin/sh
# autograd 1.9.1 (HIPS) with scipy 1.17.1: the derivatives of autograd.scipy.special.jn, yn, iv and ive by their order
# are zero, without a word, though the functions change with it: d J_v(1.5) / dv at v = 1.3 is -0.35. Where a rule is
# missing elsewhere (gammainc by its first argument) autograd raises NotImplementedError. And
# scipy.linalg.solve_triangular with unit_diagonal=True, which does not read the diagonal, has a gradient by the matrix
# that divides by what is stored there; without unit_diagonal it is right.
# Exits with 0 if that is so, with 1 if not.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install --quiet autograd==1.9.1 numpy==2.4.6 scipy==1.17.1 mpmath==1.3.0
"$folder/venv/bin/python" - <<'PYTHON'
import sys

import autograd.numpy as np
import mpmath
from autograd import grad
from autograd.scipy import special
from autograd.scipy.linalg import solve_triangular

as_stated = True
functions = {
    "jn": mpmath.besselj,
    "yn": mpmath.bessely,
    "iv": mpmath.besseli,
    "ive": lambda v, x: mpmath.besseli(v, x) * mpmath.exp(-x),
}
for name, exact in functions.items():
    function = getattr(special, name)
    order = 2.0 if name == "yn" else 1.3  # yn is for whole orders
    by_order, by_argument = grad(function)(order, 1.5), grad(function, 1)(order, 1.5)
    right = mpmath.diff(lambda v: exact(v, 1.5), order)
    right_by_argument = mpmath.diff(lambda x: exact(order, x), 1.5)
    print(f"{name:3} by its order {by_order}, right {float(right):.6f}; by its argument {by_argument:.6f}")
    as_stated &= by_order == 0.0 and abs(right) > 0.1 and abs(by_argument - right_by_argument) < 1e-9
try:
    grad(special.gammainc)(1.3, 1.5)
    as_stated = False
except NotImplementedError as error:
    print("gammainc:", error)

b = np.array([1.0, 2.0])
for unit in (False, True):
    for diagonal in (1.0, 4.0):
        total = lambda L: np.sum(solve_triangular(L, b, lower=True, unit_diagonal=unit))
        L = np.array([[diagonal, 0.0], [0.5, diagonal]])
        h = 1e-6
        units = np.eye(4).reshape(4, 2, 2)
        central = np.array([(total(L + h * e) - total(L - h * e)) / (2 * h) for e in units]).reshape(2, 2)
        own = grad(total)(L)
        print(f"unit_diagonal={unit}, {diagonal} stored: {own.tolist()}, differences {central.round(6).tolist()}")
        as_stated &= (abs(own - central).max() < 1e-6) == (not unit)
sys.exit(0 if as_stated else 1)
PYTHON
