"""x * w as functions of PyTorch's with a backward of their own, in which one thing or another is wrong."""

import torch


def times(**methods):
    """x * w with some of its methods replaced."""

    class Times(torch.autograd.Function):
        @staticmethod
        def forward(ctx, x, w):
            ctx.save_for_backward(x, w)
            ctx.save_for_forward(x, w)
            return x * w

        @staticmethod
        def backward(ctx, grad):
            x, w = ctx.saved_tensors
            return grad * w, grad * x

    for name, method in methods.items():
        setattr(Times, name, staticmethod(method))
    return Times


def two_inputs(dtype=torch.float64):
    generator = torch.Generator().manual_seed(0)
    return tuple(torch.randn(3, 4, generator=generator, dtype=dtype).requires_grad_() for _ in range(2))


def ignores_strides(ctx, grad):
    x, w = ctx.saved_tensors
    grad = torch.as_strided(grad, (grad.numel(),), (1,)).reshape(grad.shape)
    return grad * w, grad * x


def writes_into_its_cotangent(ctx, grad):
    x, w = ctx.saved_tensors
    of_w = grad * x
    return grad.mul_(w), of_w


def writes_into_what_it_saved(ctx, grad):
    x, w = ctx.saved_tensors
    return grad * w, x.mul_(grad)


def forgets_what_it_needs(ctx, grad):
    x, w = ctx.saved_tensors
    return grad * w if ctx.needs_input_grad[1] else None, grad * x


def adds_a_constant(ctx, grad):
    x, w = ctx.saved_tensors
    return grad * w, grad * x + (grad.abs().sum() == 0)


def counts_its_calls(ctx, grad):
    ctx.calls = getattr(ctx, "calls", 0) + 1
    x, w = ctx.saved_tensors
    return grad * w * min(ctx.calls, 2), grad * x


def knows_batches(ctx, grad):
    x, w = ctx.saved_tensors
    return grad * w * (1 + int(torch._C._functorch.is_batchedtensor(grad))), grad * x


def takes_twins_for_one(ctx, grad):
    x, w = ctx.saved_tensors
    return grad * w * (1 + int(x.data_ptr() == w.data_ptr())), grad * x


def right_tangent(ctx, of_x, of_w):
    x, w = ctx.saved_tensors
    return (0 if of_x is None else of_x * w) + (0 if of_w is None else of_w * x)


def wrong_tangent(ctx, of_x, of_w):
    return right_tangent(ctx, of_x, None if of_w is None else -of_w)


#: What is wrong, by the aspect that must say so.
WRONG_TIMES = {
    "unchanged tensors": [times(backward=writes_into_its_cotangent), times(backward=writes_into_what_it_saved)],
    "backward twice": [times(backward=counts_its_calls)],
    "zero cotangent": [times(backward=adds_a_constant)],
    "expanded cotangent": [times(backward=ignores_strides)],
    "strided cotangent": [times(backward=ignores_strides)],
    "batched backward": [times(backward=knows_batches)],
    "forward mode": [times(jvp=wrong_tangent)],
    "input without gradient": [times(backward=forgets_what_it_needs)],
    "same tensor twice": [times(backward=takes_twins_for_one)],
}


def of_one(forward, backward):
    """A function of one tensor."""
    methods = {"forward": staticmethod(forward), "backward": staticmethod(backward)}
    return type("Operator", (torch.autograd.Function,), methods)


def twice_in_place(ctx, x):
    ctx.mark_dirty(x)
    return x.mul_(2)


def twice_by_numpy(ctx, x):
    numbers = x.detach().numpy()
    numbers *= 2
    return torch.from_numpy(numbers.copy())


def doubled(ctx, grad):
    return 2 * grad


def same(ctx, grad):
    return grad


VIEWS = {
    "a view": (of_one(lambda ctx, x: x.view(-1), lambda ctx, grad: grad.view(3, 4)), "right"),
    "a detached view": (of_one(lambda ctx, x: x.detach(), same), "wrong"),
    "an array of NumPy": (of_one(lambda ctx, x: torch.from_numpy(x.detach().numpy()), same), "wrong"),
}
IN_PLACE = {
    "mark_dirty": (of_one(twice_in_place, doubled), "right"),
    "no mark_dirty": (of_one(lambda ctx, x: x.mul_(2), doubled), "wrong"),
    "by NumPy": (of_one(twice_by_numpy, doubled), "wrong"),
}


class SinAndDouble(torch.autograd.Function):
    """(sin x, 2x), whose backward takes None for a cotangent."""

    @staticmethod
    def forward(ctx, x):
        ctx.set_materialize_grads(False)
        ctx.save_for_backward(x)
        return x.sin(), 2 * x

    @staticmethod
    def backward(ctx, of_sin, of_double):
        (x,) = ctx.saved_tensors
        found = torch.zeros_like(x)
        if of_sin is not None:
            found += of_sin * x.cos()
        if of_double is not None:
            found += 2 * of_double
        return found


class FailsWithoutCotangent(SinAndDouble):
    @staticmethod
    def backward(ctx, of_sin, of_double):
        (x,) = ctx.saved_tensors
        return of_sin * x.cos() + 2 * of_double


class ForgetsWithoutCotangent(SinAndDouble):
    @staticmethod
    def backward(ctx, of_sin, of_double):
        if of_sin is None:
            return 3 * of_double
        return SinAndDouble.backward(ctx, of_sin, of_double)
