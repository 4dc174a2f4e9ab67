"""What is looked at beside the numbers of a right gradient: in arrays of many entries, and of many inputs."""

from __future__ import annotations

import sys
import threading

import pytest

import gradcheck_fast as gf

torch = pytest.importorskip("torch", reason="PyTorch is not installed")
pytestmark = pytest.mark.usefixtures("one_thread_of_torch", "seed_of_torch")

SIZES = [(torch.bfloat16, 4), (torch.bfloat16, 64), (torch.float16, 64), (torch.float32, 64), (torch.float64, 64)]
of_sizes = pytest.mark.parametrize(("dtype", "n"), SIZES, ids=[f"{str(d)[6:]}-{n}" for d, n in SIZES])


def looked_at(function, inputs, aspect):
    """The status and the detail of one aspect."""
    skip = [name for name in gf.torch.ASPECTS if name not in ("unchanged tensors", "backward twice", aspect)]
    report = gf.torch.check_function(function, tuple(inputs), skip=skip)
    assert report.wrong == 0
    return next((found.status, found.detail) for found in report.aspects if found.name == aspect)


def product(jvp):
    class Product(torch.autograd.Function):
        @staticmethod
        def forward(a, b):
            return a @ b

        @staticmethod
        def setup_context(ctx, inputs, output):
            ctx.save_for_backward(*inputs)
            ctx.save_for_forward(*inputs)

        @staticmethod
        def backward(ctx, v):
            a, b = ctx.saved_tensors
            return v @ b.T, a.T @ v

    Product.jvp = staticmethod(lambda ctx, ta, tb: jvp(ta, tb, *ctx.saved_tensors))
    return Product


def with_one(y, at, factor):
    y = y.clone()
    y[at] *= factor
    return y


right = lambda ta, tb, a, b: ta @ b + a @ tb
WRONG_TANGENTS = {
    "sign": lambda ta, tb, a, b: -right(ta, tb, a, b),
    "twice": lambda ta, tb, a, b: 2 * right(ta, tb, a, b),
    "difference": lambda ta, tb, a, b: ta @ b - a @ tb,
    "a row": lambda ta, tb, a, b: with_one(right(ta, tb, a, b), 1, 0.0),
    "an entry": lambda ta, tb, a, b: with_one(right(ta, tb, a, b), (1, 2), -3.0),
}


def matrices(dtype, n):
    return [torch.randn(n, n).to(dtype).requires_grad_() for _ in range(2)]


@of_sizes
def test_a_right_forward_mode_of_any_size(dtype, n):
    assert looked_at(product(right), matrices(dtype, n), "forward mode") == ("right", "")


@of_sizes
@pytest.mark.parametrize("wrong", WRONG_TANGENTS.values(), ids=WRONG_TANGENTS)
def test_a_wrong_forward_mode_of_any_size(wrong, dtype, n):
    assert looked_at(product(wrong), matrices(dtype, n), "forward mode")[0] == "wrong"


def square(backward):
    class Square(torch.autograd.Function):
        @staticmethod
        def forward(ctx, a):
            ctx.save_for_backward(a)
            ctx.calls = 0
            return a * a

        @staticmethod
        def backward(ctx, v):
            (a,) = ctx.saved_tensors
            ctx.calls += 1
            return backward(ctx, v, a)

    return Square


def as_if_contiguous(ctx, v, a):
    return 2 * a * v.as_strided(a.shape, a.stride())


WRONG_SQUARES = {
    "backward twice": lambda ctx, v, a: 2 * v * a * ctx.calls,
    "zero cotangent": lambda ctx, v, a: 2 * torch.where(v == 0, 1.0, v).to(v.dtype) * a,
    "expanded cotangent": as_if_contiguous,
    "strided cotangent": as_if_contiguous,
}


@of_sizes
@pytest.mark.parametrize("aspect", WRONG_SQUARES)
def test_other_wrong_aspects_of_any_size(aspect, dtype, n):
    x = matrices(dtype, n)[:1]
    assert looked_at(square(lambda ctx, v, a: 2 * v * a), x, aspect)[0] == "right"
    assert looked_at(square(WRONG_SQUARES[aspect]), x, aspect)[0] == "wrong"


def sines(backward=lambda k, slope: slope, tangent=lambda k, change: change):
    class Sines(torch.autograd.Function):
        @staticmethod
        def forward(ctx, *a):
            ctx.save_for_backward(*a)
            ctx.save_for_forward(*a)
            return sum((k + 1) * x.sin() for k, x in enumerate(a))

        @staticmethod
        def backward(ctx, v):
            return tuple(backward(k, (k + 1) * v * x.cos()) for k, x in enumerate(ctx.saved_tensors))

        @staticmethod
        def jvp(ctx, *t):
            return sum(
                (k + 1) * tangent(k, d * x.cos()) for k, (x, d) in enumerate(zip(ctx.saved_tensors, t, strict=True))
            )

    return Sines


def test_every_one_of_many_inputs_is_moved_in_forward_mode():
    inputs = [torch.randn(3, dtype=torch.float64, requires_grad=True) for _ in range(10)]
    assert looked_at(sines(), inputs, "forward mode") == ("right", "")
    status, said = looked_at(sines(tangent=lambda k, change: change if k < 8 else -change), inputs, "forward mode")
    assert status == "wrong"
    assert said.startswith("moved along a tangent of all inputs, output")
    assert looked_at(sines(), inputs, "input without gradient") == ("right", "by the first 8 of 10 inputs")
    assert looked_at(sines(), inputs, "same tensor twice") == ("right", "for 8 of 45 pairs of inputs")


def test_a_forward_mode_must_add_the_tangents_of_its_inputs():
    class Product(torch.autograd.Function):
        @staticmethod
        def forward(ctx, a, b):
            ctx.save_for_backward(a, b)
            ctx.save_for_forward(a, b)
            ctx.set_materialize_grads(False)
            return a * b

        @staticmethod
        def backward(ctx, v):
            a, b = ctx.saved_tensors
            return v * b, v * a

        @staticmethod
        def jvp(ctx, ta, tb):
            a, b = ctx.saved_tensors
            return a * tb if ta is None else ta * b

    inputs = [torch.randn(3, 4, dtype=torch.float64, requires_grad=True) for _ in range(2)]
    status, said = looked_at(Product, inputs, "forward mode")
    assert (status, said[:40]) == ("wrong", "moved along a tangent of all inputs, out")


def test_every_pair_of_inputs_may_be_one_tensor():
    class Product(torch.autograd.Function):
        @staticmethod
        def forward(ctx, q, k, v):
            ctx.save_for_backward(q, k, v)
            ctx.same = k.data_ptr() == v.data_ptr()
            return q * k * v

        @staticmethod
        def backward(ctx, w):
            q, k, v = ctx.saved_tensors
            return w * k * v, w * q * v, None if ctx.same else w * q * k

    inputs = [torch.randn(3, 4, dtype=torch.float64, requires_grad=True) for _ in range(3)]
    status, said = looked_at(Product, inputs, "same tensor twice")
    assert status == "wrong"
    assert said.startswith("where one tensor is given for inputs[1] and inputs[2], ")


def test_threads_take_turns_in_forward_mode():
    found, before = [], sys.getswitchinterval()
    inputs = [torch.randn(4, 4, dtype=torch.float64, requires_grad=True)]

    def check():
        for _ in range(3):
            try:
                found.append(looked_at(torch.sin, inputs, "forward mode"))
            except Exception as error:
                found.append(error)

    sys.setswitchinterval(1e-4)
    try:
        threads = [threading.Thread(target=check) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    finally:
        sys.setswitchinterval(before)
    assert found == [("right", "")] * 12


def test_forward_mode_within_that_of_the_user_is_not_checked():
    with torch.autograd.forward_ad.dual_level():
        status, said = looked_at(torch.sin, [torch.randn(3, requires_grad=True)], "forward mode")
    assert status == "not checked"
    assert "forward mode" in said.lower()
