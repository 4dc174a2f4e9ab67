#!/bin/sh
# numdifftools 0.11.2: beside a kink the error estimate of Derivative is no bound, and the value can be another one.
# Its largest steps cross the kink and fit each other well, so of |x| at x = 1e-4 it gives the slope 0 instead of 1 and
# an error of 0.002; method="forward" gives 1. scipy.differentiate.derivative 1.17.1 takes 0.995 and says that it has
# not converged. So a network with rectifiers, some of whose sums are near zero by chance, is judged by a reference
# that is wrong and sure of itself.
# Exits with 0 if that is so, with 1 if not.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install --quiet numdifftools==0.11.2 numpy==2.4.6 scipy==1.17.1
"$folder/venv/bin/python" - <<'PYTHON'
import sys

import numdifftools
import numpy as np
import scipy
from scipy.differentiate import derivative

print("numdifftools", numdifftools.__version__, "scipy", scipy.__version__)
wrong_and_sure = {}
for x in (1e-1, 1e-2, 1e-4):
    result = numdifftools.Derivative(np.abs, full_output=True)(x)
    slope, estimate = float(result.estimate), float(result.error_estimate)
    forward = float(numdifftools.Derivative(np.abs, method="forward")(x))
    by_scipy = derivative(np.abs, x)
    print(f"|x| at {x}: slope {slope:.6f}, estimate of its error {estimate:.1e}; forward {forward:.6f};", end=" ")
    print(f"scipy {by_scipy.df:.6f}, {'converged' if by_scipy.success else 'not converged'}")
    wrong_and_sure[x] = abs(slope - 1.0) > 100 * estimate + 1e-9, abs(forward - 1.0) < 1e-9, bool(by_scipy.success)
rng = np.random.default_rng(0)
W, x = rng.normal(size=(8, 4)), rng.normal(size=4)
sums = W @ x
sums -= sums[0] - 1e-4  # the first rectifier is on, by 1e-4
network = lambda b: np.maximum(sums + b, 0.0).sum()
exact = (sums > 0).sum()
result = numdifftools.Derivative(network, full_output=True)(0.0)
print(f"rectifiers: slope {float(result.estimate):.6f} +- {float(result.error_estimate):.1e}, exact {exact}")
off = abs(float(result.estimate) - exact)
as_stated = (
    wrong_and_sure[1e-4] == (True, True, False)
    and not any(wrong_and_sure[x][0] for x in (1e-1, 1e-2))
    and off > 0.3
    and off > 10 * float(result.error_estimate)
)
sys.exit(0 if as_stated else 1)
PYTHON
