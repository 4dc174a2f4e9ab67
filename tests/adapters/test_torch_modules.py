"""Modules as users write them: the exact engine knows all of them, autograd agrees, and a small error is found."""

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from torch import nn  # noqa: E402
from torch_modules import MODULES, case  # noqa: E402

import gradcheck_fast as gf  # noqa: E402

#: The part of its size by which a planted entry is wrong.
ERROR = 1e-6
#: Steps that are no primitives, and are differenced by themselves.
OPAQUE = "is differenced by itself, not exactly"


class Planted(torch.autograd.Function):
    """Gives the loss, and adds to the gradient of a parameter what is no part of it."""

    @staticmethod
    def forward(ctx, loss, parameter, error):
        ctx.save_for_backward(error)
        return loss.clone()

    @staticmethod
    def backward(ctx, grad):
        (error,) = ctx.saved_tensors
        return grad, grad * error, None


class WithParameter(nn.Module):
    """Gives the output of a module, and one of its parameters."""

    def __init__(self, module, name):
        super().__init__()
        self.module, self.name = module, name

    def forward(self, *inputs):
        return self.module(*inputs), self.module.get_parameter(self.name)


def check(example, module=None, loss_fn=None):
    return gf.torch.gradcheck(
        module or example.module, loss_fn or example.loss_fn, example.inputs, example.targets, n_threads=1
    )


@pytest.mark.parametrize("name", MODULES)
def test_every_entry_is_right_to_rounding(name):
    report = check(case(name))
    assert report.ok, str(report)
    assert report.certificate is not None and report.certificate.holds, report.notes
    exact = not any(OPAQUE in note for note in report.notes)
    assert report.relative_error <= (1e-12 if exact else 1e-8), (report.relative_error, report.notes)


@pytest.mark.parametrize("name", MODULES)
def test_an_error_of_a_millionth_of_one_entry_is_found(name):
    example = case(name)
    state = torch.get_rng_state()  # random numbers may be drawn, which have to be the same twice
    gradient = check(example).analytic
    name = max(gradient, key=lambda name: np.abs(gradient[name]).max())
    entry = np.unravel_index(np.argmax(np.abs(gradient[name])), np.shape(gradient[name]))
    error = np.zeros(np.shape(gradient[name]))
    error[entry] = ERROR * gradient[name][entry]

    def loss_fn(found, *targets):
        output, parameter = found
        return Planted.apply(example.loss_fn(output, *targets), parameter, torch.as_tensor(error))

    torch.set_rng_state(state)
    report = check(example, WithParameter(example.module, name), loss_fn)
    (wrong,) = [array for array in report.arrays if array.wrong]
    (worst,) = report.worst(1)
    assert (wrong.name, wrong.wrong, worst.index) == (f"module.{name}", 1, entry)
