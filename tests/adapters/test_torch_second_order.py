"""gf.torch.check_function(second_order=True): double backward."""

from __future__ import annotations

import pytest

import gradcheck_fast as gf

torch = pytest.importorskip("torch", reason="PyTorch is not installed")
products = pytest.importorskip("torch_products")
pytestmark = pytest.mark.usefixtures("one_thread_of_torch", "seed_of_torch")


def tanh_of_product(backward):
    def forward(ctx, x, w):
        y = torch.tanh(x * w)
        ctx.save_for_backward(x, w, y)
        ctx.y = y.detach()
        return y

    return products.times(forward=forward, backward=backward)


def right(ctx, grad):
    x, w, y = ctx.saved_tensors
    return grad * (1 - y * y) * w, grad * (1 - y * y) * x


def takes_its_output_for_a_constant(ctx, grad):
    x, w, _ = ctx.saved_tensors
    return grad * (1 - ctx.y**2) * w, grad * (1 - ctx.y**2) * x


def without_a_graph(ctx, grad):
    with torch.no_grad():
        return right(ctx, grad)


def in_part_without_a_graph(ctx, grad):
    of_x, of_w = right(ctx, grad)
    return of_x, of_w.detach()


def by_numpy(ctx, grad):
    x, w, y = ctx.saved_tensors
    slope = torch.from_numpy(grad.numpy() * (1 - y.numpy() ** 2))
    return slope * w, slope * x


def second(function, inputs):
    report = gf.torch.check_function(function, inputs, skip=gf.torch.ASPECTS, second_order=True)
    (aspect,) = report.aspects
    assert aspect.name == "second order"
    assert report.ok == (aspect.status == "right")
    return aspect.status, aspect.detail


@pytest.mark.parametrize("function", [
    tanh_of_product(right), torch.atan2, lambda x, w: torch.softmax(x @ w.T, -1) @ w,
    lambda x, w: (x * w, x.sum()), lambda x, w: x.mul_(2).sin_() * w,
])  # fmt: skip
def test_a_right_double_backward(function):
    assert second(function, products.two_inputs()) == ("right", "")


def test_a_wrong_double_backward_says_which_derivative():
    status, detail = second(tanh_of_product(takes_its_output_for_a_constant), products.two_inputs())
    assert status == "wrong"
    assert detail.startswith("of the gradient by inputs[0], 24 of 36 derivatives are wrong: that by inputs[")


@pytest.mark.parametrize("backward, said", [
    (torch.autograd.function.once_differentiable(right), "backward is marked once_differentiable"),
    (without_a_graph, "the gradient by inputs[0] that backward gives with create_graph=True has no graph"),
    (in_part_without_a_graph, "the gradient by inputs[1] that backward gives with create_graph=True has no graph"),
    (by_numpy, "backward with create_graph=True fails: RuntimeError was raised"),
])  # fmt: skip
def test_a_backward_without_a_double_backward(backward, said):
    status, detail = second(tanh_of_product(backward), products.two_inputs())
    assert status == "wrong"
    assert detail.startswith(said)


def test_the_option_is_true_or_false():
    with pytest.raises(TypeError, match="second_order: expected True or False"):
        gf.torch.check_function(torch.sin, products.two_inputs()[0], second_order=2)
