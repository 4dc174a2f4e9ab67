#!/bin/sh
# autograd 1.9.1 (HIPS): autograd.test_util.check_grads(f)(a, b) takes any number of arguments and differentiates the
# first alone. A rule for b with its sign flipped passes, as does one that returns twice the gradient; the same mistakes
# in the rule for a are reported. To have b checked one gives check_grads(f, argnum=1), or a tuple of both as argnum.
# Exits with 0 if that is so, with 1 if not.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install --quiet autograd==1.9.1 numpy==2.4.0 scipy==1.17.1
"$folder/venv/bin/python" - <<'PYTHON'
import sys

import autograd.numpy as np
from autograd.extend import defvjp, primitive
from autograd.test_util import check_grads


def product(factor_a, factor_b):
    """a * b, with gradients that are times a factor each."""

    @primitive
    def times(a, b):
        return a * b

    defvjp(times, lambda _, a, b: lambda g: factor_a * g * b, lambda _, a, b: lambda g: factor_b * g * a)
    return times


def is_reported(f, **options):
    a, b = np.array([1.0, 2.0, 3.0]), np.array([0.5, -1.0, 2.0])
    try:
        check_grads(f, modes=["rev"], order=1, **options)(a, b)
    except AssertionError:
        return True
    return False


found = {
    "right": is_reported(product(1.0, 1.0)),
    "a flipped": is_reported(product(-1.0, 1.0)),
    "b flipped": is_reported(product(1.0, -1.0)),
    "b doubled": is_reported(product(1.0, 2.0)),
    "b flipped, argnum=1": is_reported(product(1.0, -1.0), argnum=1),
    "b flipped, argnum=(0, 1)": is_reported(product(1.0, -1.0), argnum=(0, 1)),
}
for name, reported in found.items():
    print(f"{name:25}", "reported" if reported else "passes")
sys.exit(0 if list(found.values()) == [False, True, False, False, True, True] else 1)
PYTHON
