#!/bin/sh
# torch 2.13.0 (CPU): there is one level of forward mode in a process, not one in each thread. While a thread is within
# torch.autograd.forward_ad.dual_level(), three things raise "RuntimeError: Nested forward mode AD is not supported at
# the moment" in every other thread: dual_level() itself, torch.func.jvp, and torch.autograd.gradcheck with
# check_forward_ad=True. Alone each of them works; backward works beside it, too, as autograd's modes are of a thread.
# Exits with 0 if that is so, with 1 if not.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install --quiet torch==2.13.0 numpy==2.4.6
"$folder/venv/bin/python" - <<'PYTHON'
import sys
from threading import Thread

import torch
from torch.autograd import forward_ad

print("torch", torch.__version__)
x, tangent = torch.tensor([1.0, 2.0], dtype=torch.float64), torch.ones(2, dtype=torch.float64)


def by_dual_level():
    with forward_ad.dual_level():
        return forward_ad.unpack_dual(forward_ad.make_dual(x, tangent).square()).tangent.tolist()


def by_jvp():
    return torch.func.jvp(torch.square, (x,), (tangent,))[1].tolist()


def by_gradcheck():
    return torch.autograd.gradcheck(torch.square, (x.clone().requires_grad_(),), check_forward_ad=True)


def by_backward():
    leaf = x.clone().requires_grad_()
    return torch.autograd.grad(leaf.square().sum(), leaf)[0].tolist()


def in_a_thread(function):
    found = []

    def run():
        try:
            found.append(function())
        except Exception as error:
            found.append(f"{type(error).__name__}: {error}")

    thread = Thread(target=run)
    thread.start()
    thread.join()
    return found[0]


ways = {"dual_level": by_dual_level, "func.jvp": by_jvp, "gradcheck": by_gradcheck, "backward": by_backward}
alone = {name: in_a_thread(way) for name, way in ways.items()}
with forward_ad.dual_level():
    beside = {name: in_a_thread(way) for name, way in ways.items()}
for name in ways:
    print(f"{name:10} in a thread alone: {alone[name]}; while another thread is in forward mode: {beside[name]}")
refused = "RuntimeError: Nested forward mode AD is not supported at the moment"
as_stated = (
    alone == {"dual_level": [2.0, 4.0], "func.jvp": [2.0, 4.0], "gradcheck": True, "backward": [2.0, 4.0]}
    and beside == {**dict.fromkeys(ways, refused), "backward": [2.0, 4.0]}
)
sys.exit(0 if as_stated else 1)
PYTHON
