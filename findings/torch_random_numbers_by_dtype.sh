#!/bin/sh
# torch 2.13.0, on the CPU: with the same seed torch.randn gives the same numbers in float32 and float64 (to rounding)
# where there are fewer than 16 of them, and others from 16 on; torch.rand gives others in any case, and bernoulli_ the
# same in any case. So code that seeds itself is another function in float64, and a small test does not show it.
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


def apart(draw, count):
    """The largest difference between what is drawn in float32 and in float64 with the same seed."""
    drawn = []
    for dtype in (torch.float32, torch.float64):
        torch.manual_seed(0)
        drawn.append(draw(count, dtype).double())
    return (drawn[0] - drawn[1]).abs().max().item()


draws = {
    "randn": lambda count, dtype: torch.randn(count, dtype=dtype),
    "rand": lambda count, dtype: torch.rand(count, dtype=dtype),
    "bernoulli_": lambda count, dtype: torch.empty(count, dtype=dtype).bernoulli_(0.5),
}
found = {name: {count: apart(draw, count) for count in (1, 8, 15, 16, 17, 100)} for name, draw in draws.items()}
for name, by_count in found.items():
    print(f"{name:11}", *(f"{count}: {difference:.1e}" for count, difference in by_count.items()))
as_stated = (
    all((difference < 1e-6) == (count < 16) for count, difference in found["randn"].items())
    and all(difference > 1e-3 for difference in found["rand"].values())
    and not any(found["bernoulli_"].values())
)
sys.exit(0 if as_stated else 1)
PYTHON
