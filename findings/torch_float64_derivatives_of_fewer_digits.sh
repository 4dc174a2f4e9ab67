#!/bin/sh
# torch 2.13.0, on the CPU, in float64: the derivatives of celu (with an alpha that float32 does not have exactly) and of
# hardsigmoid are right to 8 digits only, and polygamma(1, x), which is the derivative of digamma, to 9. Their values
# have all 16 digits, but for polygamma. So a check that expects 1e-12 in float64 fails there, and one by plain
# differences, which sees 1e-8 at best, does not tell. elu, selu, hardswish and digamma's value have all digits.
# Exits with 0 if that is so, with 1 if not.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install --quiet torch==2.13.0 numpy mpmath==1.3.0
"$folder/venv/bin/python" - <<'PYTHON'
import sys

import mpmath
import torch
import torch.nn.functional as F

print("torch", torch.__version__)
mpmath.mp.dps = 40
alpha = mpmath.mpf(0.7)
functions = {
    "celu, alpha 0.7": (lambda x: F.celu(x, 0.7), lambda z: z if z > 0 else alpha * mpmath.expm1(z / alpha)),
    "hardsigmoid": (F.hardsigmoid, lambda z: (z + 3) / 6),
    "digamma(x + 3)": (lambda x: torch.digamma(x + 3.0), lambda z: mpmath.digamma(z + 3)),
    "polygamma(1, x + 3)": (lambda x: torch.polygamma(1, x + 3.0), lambda z: mpmath.polygamma(1, z + 3)),
    "elu, alpha 0.7": (lambda x: F.elu(x, 0.7), lambda z: z if z > 0 else alpha * mpmath.expm1(z)),
    "hardswish": (F.hardswish, lambda z: z * (z + 3) / 6),
}
found = {}
for name, (function, exact) in functions.items():
    x = torch.linspace(-1.9, 1.7, 13, dtype=torch.float64, requires_grad=True)
    value = function(x)
    (slope,) = torch.autograd.grad(value.sum(), x)
    at = [mpmath.mpf(z) for z in x.tolist()]
    found[name] = tuple(
        max(abs(float(own - right(z))) for own, z in zip(numbers.tolist(), at))
        for numbers, right in ((value.detach(), exact), (slope, lambda z, f=exact: mpmath.diff(f, z)))
    )
    print(f"{name:20} value to {found[name][0]:.0e}, derivative to {found[name][1]:.0e}")
few, all_digits = (1e-11, 1e-6), 1e-14
as_stated = (
    all(few[0] < found[name][1] < few[1] for name in ("celu, alpha 0.7", "hardsigmoid", "digamma(x + 3)"))
    and all(found[name][0] < all_digits for name in found if not name.startswith("polygamma"))
    and few[0] < found["polygamma(1, x + 3)"][0] < few[1]
    and all(found[name][1] < all_digits for name in ("elu, alpha 0.7", "hardswish"))
)
sys.exit(0 if as_stated else 1)
PYTHON
