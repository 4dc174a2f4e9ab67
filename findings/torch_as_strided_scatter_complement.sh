#!/bin/sh
# torch 2.13.0 (CPU): the gradient of torch.as_strided_scatter(base, source, size, stride, offset) by the base is the
# complement of the right one: it is one where the source has been written over the base, which has no influence there,
# and zero where the base is kept. The value is right, the gradient by the source is right, and so are both gradients
# where one copies into torch.as_strided(base.clone(), ...). slice_scatter and select_scatter are right as well.
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


def by_copying(base, source):
    result = base.clone()
    torch.as_strided(result, (2,), (3,), 1).copy_(source)
    return result


functions = {
    "as_strided_scatter": lambda base, source: torch.as_strided_scatter(base, source, (2,), (3,), 1),
    "clone and copy_": by_copying,
    "slice_scatter": lambda base, source: torch.slice_scatter(base, source, 0, 1, 6, 3),
}
found = {}
for name, function in functions.items():
    base = torch.arange(6.0, dtype=torch.float64, requires_grad=True)
    source = torch.tensor([-1.0, -2.0], dtype=torch.float64, requires_grad=True)
    value = function(base, source)
    by_base, by_source = torch.autograd.grad(value.sum(), (base, source))
    found[name] = value.tolist(), by_base.tolist(), by_source.tolist()
    print(f"{name:19} value {found[name][0]}, gradient by the base {found[name][1]}, by the source {found[name][2]}")
value = [0.0, -1.0, 2.0, 3.0, -2.0, 5.0]
right = [1.0, 0.0, 1.0, 1.0, 0.0, 1.0]
complement = [1.0 - r for r in right]
as_stated = (
    found["as_strided_scatter"] == (value, complement, [1.0, 1.0])
    and found["clone and copy_"] == found["slice_scatter"] == (value, right, [1.0, 1.0])
)
sys.exit(0 if as_stated else 1)
PYTHON
