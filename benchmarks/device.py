"""Operators and modules on a GPU: whether their checks are right there, and how long they take.

    python benchmarks/device.py [--device cuda] [--seconds 1]

Ten operators and modules are checked on the CPU and on the device. Their tensors stay where they are: float64 copies
are made on the same device, and only results come to the CPU. Each row has the verdict, the method and the seconds of
the two checks, the seconds of one forward and backward pass, and whether a planted mistake of 1 % is found there. The
program ends with 0 and says so if there is no such device; with 1 if a verdict on the device is not the right one.
"""

import argparse
import sys
import time
from functools import partial
from statistics import median

import torch
import torch.nn.functional as F
from custom_operators import OPERATORS, operator
from torch import nn

import gradcheck_fast as gf

#: The operators of `custom_operators` that are checked, with their own backward.
OWN = ("layer_norm", "rms_norm", "attention", "softmax", "conv2d", "gelu")
#: What the last gradient of a planted mistake is multiplied by.
PLANTED = 1.01


class Small(nn.Sequential):
    """A small convolutional network."""

    def __init__(self):
        super().__init__(nn.Conv2d(3, 8, 3), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(8 * 49, 10))

    data = staticmethod(lambda: (torch.randn(8, 3, 16, 16), torch.randint(0, 10, (8,))))


class Transformer(nn.Module):
    """One block of a transformer, and the mean over its times."""

    def __init__(self):
        super().__init__()
        self.block = nn.TransformerEncoderLayer(32, 4, 64, 0.0, "gelu", batch_first=True, norm_first=True)
        self.head = nn.Linear(32, 10)

    def forward(self, x):
        return self.head(self.block(x).mean(1))

    data = staticmethod(lambda: (torch.randn(4, 12, 32), torch.randint(0, 10, (4,))))


class Recurrent(nn.Module):
    """A GRU whose last state is classified."""

    def __init__(self):
        super().__init__()
        self.gru, self.head = nn.GRU(16, 24, batch_first=True), nn.Linear(24, 10)

    def forward(self, x):
        return self.head(self.gru(x)[0][:, -1])

    data = staticmethod(lambda: (torch.randn(8, 10, 16), torch.randint(0, 10, (8,))))


class Perceptron(nn.Sequential):
    """Two layers with batch normalisation, in float32."""

    def __init__(self):
        super().__init__(nn.Linear(64, 128), nn.BatchNorm1d(128), nn.GELU(), nn.Linear(128, 10))

    data = staticmethod(lambda: (torch.randn(32, 64), torch.randint(0, 10, (32,))))


MODULES = {kind.__name__: kind for kind in (Small, Transformer, Recurrent, Perceptron)}


def of_operator(name, device, factor=1.0):
    """The check of an operator, and one pass; the last gradient of its backward is multiplied by `factor`."""
    forward, backward, shapes = OPERATORS[name]

    def planted(grad, *saved):
        found = backward(grad, *saved)
        parts = found if isinstance(found, tuple) else (found,)
        return (*parts[:-1], factor * parts[-1])

    torch.manual_seed(0)
    function = operator(forward, planted)
    made = [torch.randn(shape, dtype=torch.float64) for shape in shapes]
    inputs = tuple(tensor.to(device).requires_grad_() for tensor in made)

    def one_pass():
        torch.autograd.grad(function.apply(*inputs).sum(), inputs)

    return partial(gf.torch.check_function, function, inputs), one_pass


def of_module(name, device, factor=1.0):
    """The check of a module, and one pass; the gradient of its last parameter is multiplied by `factor`."""
    torch.manual_seed(0)
    module, (x, y) = MODULES[name](), MODULES[name].data()
    module, x, y = module.to(device), x.to(device), y.to(device)
    if factor != 1.0:
        list(module.parameters())[-1].register_hook(lambda grad: factor * grad)

    def one_pass():
        module.zero_grad()
        F.cross_entropy(module(x), y).backward()

    return partial(gf.torch.gradcheck, module, nn.CrossEntropyLoss(), x, y), one_pass


def seconds(run, device, enough):
    """The median of the seconds of some calls, which take `enough` together, after one that is not counted."""
    found = []
    while not found or sum(found) < enough:
        wait(device)
        begin = time.perf_counter()
        run()
        wait(device)
        found.append(time.perf_counter() - begin)
    return median(found[1:] or found)


def wait(device):
    """Waits until the device has done its work."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def row(name, make, device, enough):
    """Prints a row; returns whether all verdicts are right."""
    parts, right = [f"{name:14}"], True
    for where in (torch.device("cpu"), device):
        check, one_pass = make(name, where)
        try:
            report = check()
        except Exception as error:
            parts.append(f"{where.type}: {type(error).__name__}: {str(error).partition(chr(10))[0][:60]}")
            right = False
            continue
        wrong = make(name, where, PLANTED)[0]()
        right &= report.ok and wrong.verdict == "FAIL"
        parts.append(
            f"{where.type:5}{report.verdict:13}{report.method:7} check {seconds(check, where, enough):8.4f} s, "
            f"pass {seconds(one_pass, where, enough):8.5f} s, planted: {'found' if wrong.wrong else 'MISSED'}"
        )
        if not report.ok:
            parts.append(report.reason)
    print("   ".join(parts), flush=True)
    return right


def main():
    """Checks and times everything, if the device is there."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--device", default="cuda", help="such as cuda, cuda:1, mps or cpu")
    parser.add_argument("--seconds", type=float, default=1.0, help="how long each timing takes, about")
    given = parser.parse_args()
    try:
        device = torch.device(given.device)
        torch.zeros(1, device=device)
    except Exception as error:
        said = str(error).partition("\n")[0]
        print(f"There is no device {given.device!r} here ({said}): nothing was checked.")
        return 0
    what = torch.cuda.get_device_name(device) if device.type == "cuda" else device.type
    print(f"{what}, PyTorch {torch.__version__}")
    results = [row(name, of_operator, device, given.seconds) for name in OWN]
    results += [row(name, of_module, device, given.seconds) for name in MODULES]
    return 0 if all(results) else 1


if __name__ == "__main__":
    sys.exit(main())
