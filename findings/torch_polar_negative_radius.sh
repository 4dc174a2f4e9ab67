#!/bin/sh
# torch 2.13.0, on the CPU, float64: torch.polar(r, angle) computes r (cos(angle) + i sin(angle)) for radii of either
# sign, but its gradient by a negative radius has the wrong sign: it is that of |r|. The gradient by the angle is right,
# and so are both where one writes torch.complex(r * angle.cos(), r * angle.sin()).
# Exits with 0 if that is so, with 1 if not.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install --quiet torch==2.13.0 numpy
"$folder/venv/bin/python" - <<'PYTHON'
import sys

import torch

print("torch", torch.__version__)


def real_part(r, angle):
    return torch.polar(r, angle).real


def by_parts(r, angle):
    return torch.complex(r * angle.cos(), r * angle.sin()).real


def slopes(f, radius, angle=0.5):
    r, a = (torch.tensor(x, dtype=torch.float64, requires_grad=True) for x in (radius, angle))
    return [g.item() for g in torch.autograd.grad(f(r, a), (r, a))]


def differences(f, radius, angle=0.5, h=1e-6):
    at = lambda r, a: f(torch.tensor(r, dtype=torch.float64), torch.tensor(a, dtype=torch.float64)).item()
    return [
        (at(radius + h, angle) - at(radius - h, angle)) / (2 * h),
        (at(radius, angle + h) - at(radius, angle - h)) / (2 * h),
    ]


def agree(a, b):
    return abs(a - b) < 1e-8


found = {}
for f in (real_part, by_parts):
    for radius in (1.0, -1.0):
        own, central = slopes(f, radius), differences(f, radius)
        print(f"{f.__name__:9} r = {radius:4}: gradient {own}, differences {central}")
        found[f.__name__, radius] = [agree(a, b) for a, b in zip(own, central, strict=True)]
        if (f, radius) == (real_part, -1.0):
            is_opposite = agree(own[0], -central[0])
wrong = found.pop(("real_part", -1.0))
sys.exit(0 if wrong == [False, True] and is_opposite and all(map(all, found.values())) else 1)
PYTHON
