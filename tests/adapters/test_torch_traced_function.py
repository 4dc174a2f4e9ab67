"""gf.torch.check_function: the forward is traced, and every entry is compared with the chain."""

from __future__ import annotations

import ctypes
import ctypes.util

import numpy as np
import pytest

import gradcheck_fast as gf

torch = pytest.importorskip("torch", reason="PyTorch is not installed")
products = pytest.importorskip("torch_products")
pytestmark = pytest.mark.usefixtures("one_thread_of_torch", "seed_of_torch")


def check(function, inputs, **options):
    return gf.torch.check_function(function, inputs, skip=gf.torch.ASPECTS, **options)


def test_a_function_is_traced_by_its_forward():
    report = check(products.times(), products.two_inputs())
    assert (report.verdict, report.method) == ("PASS", "chain")
    assert report.certificate.holds
    assert report.relative_error < 1e-14


def test_an_error_of_the_last_digits_is_seen():
    def backward(ctx, grad):
        x, w = ctx.saved_tensors
        of_w = grad * x
        of_w[1, 2] *= 1 + 1e-11
        return grad * w, of_w

    report = check(products.times(backward=backward), products.two_inputs())
    assert (report.verdict, report.wrong) == ("FAIL", 1)
    assert report.worst()[0][:2] == ("inputs[1]", (1, 2))


def test_several_outputs_share_one_trace():
    calls = []

    def function(x, w):
        calls.append(
            any(
                type(mode).__name__ == "Tracing"
                for mode in torch.utils._python_dispatch._get_current_dispatch_mode_stack()
            )
        )
        return {"a": x.sin() @ w.T, "b": (x * w).sum(), "c": (w.exp(), w[0])}

    report = check(function, products.two_inputs())
    assert report.ok
    assert report.method == "chain"
    assert calls.count(True) == 1
    assert {output for output, _ in report.seen_from} == {"output.a", "output.b", "output.c[0]", "output.c[1]"}


@pytest.mark.parametrize("output", range(3))
def test_the_output_that_is_wrong_is_named(output):
    class Wrong(torch.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            ctx.save_for_backward(x)
            return x.sin(), 1e-6 * x.exp(), x.square()

        @staticmethod
        def backward(ctx, *grads):
            (x,) = ctx.saved_tensors
            slopes = [x.cos(), 1e-6 * x.exp(), 2 * x]
            slopes[output] = slopes[output] * 1.001
            return sum(grad * slope for grad, slope in zip(grads, slopes, strict=True))

    report = check(Wrong, products.two_inputs()[0])
    assert report.verdict == "FAIL"
    assert report.notes[0].startswith(f"this is of output[{output}] alone")


def sine_of_c(x):
    libm = ctypes.CDLL(ctypes.util.find_library("m"))
    libm.sin.restype, libm.sin.argtypes = ctypes.c_double, [ctypes.c_double]
    return torch.tensor([libm.sin(number) for number in x.tolist()], dtype=x.dtype)


@pytest.mark.parametrize("forward, note", [
    (lambda ctx, x: (ctx.save_for_backward(x), torch.from_numpy(np.sin(x.detach().numpy())))[1], ".numpy() of a value"),
    (lambda ctx, x: (ctx.save_for_backward(x), sine_of_c(x))[1], ".tolist() of a value"),
])  # fmt: skip
def test_kernels_that_are_no_operators_are_differenced_plainly(forward, note):
    x = torch.randn(5, dtype=torch.float64, requires_grad=True)
    right = products.of_one(forward, lambda ctx, grad: grad * ctx.saved_tensors[0].cos())
    report = check(right, x)
    assert (report.verdict, report.method) == ("PASS", "direct")
    assert note in next(n for n in report.notes if n.startswith("differenced as a Python function: its operations"))
    assert check(products.of_one(forward, lambda ctx, grad: grad * ctx.saved_tensors[0].sin()), x).verdict == "FAIL"
    with pytest.raises(
        ValueError, match=r"method: 'chain' needs a trace, but this is differenced as a Python function"
    ):
        check(right, x, method="chain")


def test_what_is_detached_is_held_fixed():
    x = torch.randn(5, dtype=torch.float64, requires_grad=True)
    report = check(lambda x: x + (x.round() - x).detach(), x)
    assert report.ok
    assert "a straight-through estimator is checked as the function that autograd differentiates" in report.notes[0]


def test_a_straight_through_estimator_is_wrong_and_named_as_such():
    x, w = products.two_inputs()

    def forward(ctx, x, w):
        ctx.save_for_backward((4 * x).round() / 4, w)
        return (4 * x).round() / 4 * w

    report = check(products.times(forward=forward), (x, w))
    assert (report.verdict, [array.name for array in report.arrays if array.wrong]) == ("FAIL", ["inputs[0]"])
    assert report.notes[0].startswith("your gradient is that of a straight-through estimator")
    assert "test_torch_traced_function.py line" in report.notes[0]
    other = products.times(forward=forward, backward=lambda ctx, grad: (2 * grad, grad * ctx.saved_tensors[0]))
    assert not any("straight-through" in note for note in check(other, (x, w)).notes)


@pytest.mark.parametrize("bound, named", [(1.0, True), (0.5, True), (2.0, False)])
def test_a_straight_through_estimator_where_rounded_numbers_lie_on_the_bound_of_a_clamp(bound, named):
    """There, a clamp passes gradients on or does not; further out it never does."""

    def forward(ctx, x):
        ctx.save_for_backward(x.round())
        return x.round().clamp(-1.0, 1.0)

    def backward(ctx, grad):
        (rounded,) = ctx.saved_tensors
        return grad * (rounded.abs() <= bound)

    x = torch.tensor([0.9, -1.1, 0.3, 1.7, -2.4], dtype=torch.float64, requires_grad=True)
    report = check(products.of_one(forward, backward), x)
    assert report.verdict == "FAIL"
    assert any("straight-through" in note for note in report.notes) == named


def test_rounding_that_hides_its_slope_is_wrong():
    straight_through = products.of_one(lambda ctx, x: x.round(), products.same)
    assert check(straight_through, torch.tensor([0.3, 1.4], dtype=torch.float64, requires_grad=True)).verdict == "FAIL"


def test_without_a_trace():
    report = check(torch.sin, torch.randn(3, dtype=torch.float64, requires_grad=True), trace=False)
    assert (report.verdict, report.method) == ("PASS", "direct")


def test_directions_state_their_power():
    report = check(products.times(), products.two_inputs(), method="directional")
    assert (report.verdict, report.method) == ("PASS", "directional")
    assert all(array.power < 1e-4 for array in report.arrays)
    assert report.evaluations == 4  # two for each input


def test_directions_find_a_wrong_entry():
    def backward(ctx, grad):
        x, w = ctx.saved_tensors
        of_w = grad * x
        of_w[1, 2] *= 11
        return grad * w, of_w

    report = check(products.times(backward=backward), products.two_inputs(), method="directional")
    assert report.verdict == "FAIL"
    assert report.arrays[1].entries == ((1, 2),)
