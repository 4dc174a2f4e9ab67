#!/bin/sh
# torch 2.13.0 (CPU): torch.logcumsumexp has values and gradients to all digits however far its entries are apart, but
# its forward mode adds 1e-13 to what it divides by, after scaling by the largest entry of all. In float64 at (0, 1, 2)
# that costs three digits (7e-13); where an entry is 30 below one that comes later, the derivative before it is half of
# what it should be, at 90 below it is zero, and nothing is said. Reverse mode, and logsumexp in both, are right.
# Exits with 0 if that is so, with 1 if not.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install --quiet torch==2.13.0 numpy==2.4.6
"$folder/venv/bin/python" - <<'PYTHON'
import sys

import torch

print("torch", torch.__version__)


def errors(entries, dtype):
    """How far the derivative along (1, ..., 1), which is 1 at each place, is off: in forward and in reverse mode."""
    x = torch.tensor(entries, dtype=dtype)
    ones = torch.ones_like(x)
    value, forward = torch.func.jvp(lambda x: torch.logcumsumexp(x, 0), (x,), (ones,))
    jacobian = torch.func.jacrev(lambda x: torch.logcumsumexp(x, 0))(x)
    whole = torch.func.jvp(lambda x: torch.logsumexp(x, 0), (x,), (ones,))[1]
    print(f"{str(dtype):13} at {entries}: value {value.tolist()}, forward {forward.tolist()}")
    return [(t - 1).abs().max().item() for t in (forward, jacobian.sum(1), whole)]


found = {
    (dtype, name): errors(entries, dtype)
    for dtype in (torch.float64, torch.float32)
    for name, entries in (("near", [0.0, 1.0, 2.0]), ("middle", [0.0, 20.0, 30.0]), ("far", [0.0, 50.0, 90.0]))
}
for (dtype, name), (forward, reverse, whole) in found.items():
    print(f"{str(dtype):13} {name:6} off by: forward {forward:.0e}, reverse {reverse:.0e}, logsumexp {whole:.0e}")
tiny = {torch.float64: 1e-14, torch.float32: 1e-5}
as_stated = (
    all(reverse < tiny[dtype] and whole < tiny[dtype] for (dtype, _), (_, reverse, whole) in found.items())
    and all(0.4 < found[dtype, "middle"][0] < 0.6 and found[dtype, "far"][0] == 1.0 for dtype in tiny)
    and 1e-13 < found[torch.float64, "near"][0] < 1e-11
    and found[torch.float32, "near"][0] < tiny[torch.float32]
)
sys.exit(0 if as_stated else 1)
PYTHON
