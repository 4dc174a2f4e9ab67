"""Random operators of one precision with right backward passes, in one entry of which a mistake can be planted."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from helpers.one_precision_kernels import KERNELS, in_one_precision

import gradcheck_fast as gf

PRECISIONS = ("float32", "float16", "bfloat16")
#: The relative error that is to be found in each precision.
PLANTED = {"float32": 0.01, "float16": 0.03, "bfloat16": 0.1}
#: Entries of at least this part of the root mean square of their array are of ordinary size.
ORDINARY = 0.5
#: Where typical numbers are less than this many times the least normal one, a precision holds them with fewer digits.
NORMAL = 64.0
#: A cotangent of this size must not make a gradient overflow.
LARGEST = 8.0
#: Scales are between this power of 10 and its inverse.
SCALES = 3.0


class RandomOperator(NamedTuple):
    """An operator with its inputs.

    Attributes
    ----------
    name : str
    check : callable
        ``check(at, factor, **options)`` gives the report on the operator, the entry number `at` of whose gradient is
        multiplied by `factor`; on the right one, if `at` is None.
    sizes : list of int
        The number of entries of each array of the gradient.
    f, inputs
        The forward as a function of arrays, and its arguments.
    is_saturated : bool
        Whether the operator is given numbers that it is not made for.
    """

    name: str
    check: Any
    sizes: list[int]
    f: Any
    inputs: tuple[Any, ...]
    is_saturated: bool

    def ordinary(self, gradient, rng):
        """Draws an entry of ordinary size of a gradient, a flat vector; None if there is none."""
        sizes = []
        for array in np.split(gradient, np.cumsum(self.sizes)[:-1]):
            typical = np.sqrt(np.mean(array**2))
            sizes.append(np.abs(array) / typical if typical else np.zeros(array.size))
        candidates = np.flatnonzero(np.concatenate(sizes) >= ORDINARY)
        return int(rng.choice(candidates)) if len(candidates) else None

    def is_representative(self, gradient, precision):
        """Whether outputs and gradients have all digits of the precision, and the operator is not saturated."""
        least = NORMAL * least_normal(precision)
        arrays = [np.asarray(self.f(*self.inputs), np.float64), *np.split(gradient, np.cumsum(self.sizes)[:-1])]
        return not self.is_saturated and all(np.sqrt(np.mean(a**2)) >= least for a in arrays)


def least_normal(precision):
    """The least normal number of a precision."""
    return {"float32": 2.0**-126, "float16": 2.0**-14, "bfloat16": 2.0**-126}[precision]


def dtype_of(precision: str) -> np.dtype:
    """Gives NumPy's dtype of a precision; bfloat16 is that of ml_dtypes."""
    if precision == "bfloat16":
        import ml_dtypes

        return np.dtype(ml_dtypes.bfloat16)
    return np.dtype(precision)


def random_operator(precision: str, seed: int) -> RandomOperator:
    """Draws an operator: one of four is of NumPy, the others of PyTorch.

    It is drawn again until its outputs and gradients are finite.
    """
    for attempt in range(100):
        rng = np.random.default_rng((seed, attempt))
        drawn = (_of_numpy if seed % 4 == 0 else _of_torch)(precision, seed, rng)
        if drawn is not None:
            return drawn
    raise AssertionError(f"no operator of finite numbers: {precision}, seed {seed}")


def _entries(rng):
    """Draws a number of entries: 1 to 60, and in one of ten up to 256."""
    return int(rng.integers(60, 257)) if rng.random() < 0.1 else int(np.exp(rng.uniform(0.0, np.log(61.0))))


def _scale(rng):
    return float(10.0 ** rng.uniform(-SCALES, SCALES))


def _inputs(rng, arrays, is_scaled, precision):
    """Gives arrays their scales and their dtype, and says in which units a function is to take them.

    It returns the arrays, the units, and whether the function may be saturated.
    """
    kind, dtype, unit = rng.random(), dtype_of(precision), 1.0
    floating = [np.asarray(a).dtype.kind == "f" for a in arrays]
    if is_scaled or kind < 0.1:
        scales = [_scale(rng) for _ in arrays]
    else:
        unit = _scale(rng) if kind < 0.5 else 1.0
        scales = [unit] * len(arrays)
        if kind >= 0.5:
            scales = [float(np.exp(rng.uniform(-1.0, 1.0))) for _ in arrays]
    given = tuple((s * a).astype(dtype) if is_f else a for s, a, is_f in zip(scales, arrays, floating, strict=True))
    return given, 1.0 / unit, not is_scaled and kind < 0.1


def _is_finite(values):
    return all(np.isfinite(np.asarray(value, np.float64)).all() for value in values)


def _of_numpy(precision, seed, rng):
    names, dtype = list(KERNELS), dtype_of(precision)
    name = names[seed // 4 % len(names)]
    kernel = KERNELS[name]
    inside = dtype if rng.random() < 0.5 else np.dtype(np.float32)
    inputs, per_unit, is_saturated = _inputs(rng, kernel.draw(rng, _entries(rng)), kernel.is_scaled, precision)

    def scaled(arrays):
        return [a if a.dtype.kind in "iu" else a * a.dtype.type(per_unit) for a in arrays]

    own = kernel._replace(
        forward=lambda *x: kernel.forward(*scaled(x)),
        backward=lambda v, *x: tuple(
            None if part is None else part * v.dtype.type(per_unit) for part in kernel.backward(v, *scaled(x))
        ),
    )
    f, right = in_one_precision(own, dtype, inside)
    with np.errstate(all="ignore"):
        outputs = f(*inputs)
        found = right(np.full_like(outputs, LARGEST), *inputs)
    floating = [part for part in found if part is not None]
    if not _is_finite([outputs, *floating]):
        return None

    def check(at=None, factor=1.0, **options):
        def backward(v, *x):
            return _planted(right(v, *x), at, factor)

        return gf.check_vjp(f, backward if at is not None else right, inputs, **options)

    return RandomOperator(
        f"{name} (NumPy, {inside} inside), seed {seed}", check, [part.size for part in floating], f, inputs,
        is_saturated,
    )  # fmt: skip


def _planted(gradients, at, factor):
    """Multiplies one entry of some arrays by a factor."""
    found, rest = [], at
    for array in gradients:
        if array is not None:
            array = array.copy()
            if 0 <= rest < array.size:
                array[np.unravel_index(rest, array.shape)] *= array.dtype.type(factor)
            rest -= array.size
        found.append(array)
    return tuple(found)


def _of_torch(precision, seed, rng):
    import torch
    from helpers.one_precision_tensors import TENSOR_FUNCTIONS

    own, names = getattr(torch, precision), list(TENSOR_FUNCTIONS)
    name = names[(seed - seed // 4) % len(names)]
    draw, is_scaled = TENSOR_FUNCTIONS[name]
    operator, arrays = draw(rng, _entries(rng))
    arrays, per_unit, is_saturated = _inputs(rng, arrays, is_scaled, precision)
    inputs = tuple(torch.from_numpy(a.astype(np.float32)).to(own).requires_grad_() for a in arrays)
    sizes = [a.size for a in arrays]

    def right(*tensors):
        for tensor in tensors:
            if tensor.dtype != own:
                raise TypeError(f"a kernel of {own}, got {tensor.dtype}")
        return operator(*(tensor if per_unit == 1.0 else tensor * per_unit for tensor in tensors))

    outputs = right(*inputs)
    found = torch.autograd.grad(outputs, inputs, torch.full_like(outputs, LARGEST))
    if not all(bool(part.isfinite().all()) for part in (outputs, *found)):
        return None

    class Planted(torch.autograd.Function):
        @staticmethod
        def forward(ctx, tensor, place, factor):
            ctx.place, ctx.factor = place, factor
            return tensor.clone()

        @staticmethod
        def backward(ctx, gradient):
            gradient = gradient.clone(memory_format=torch.contiguous_format)
            gradient.view(-1)[ctx.place] *= ctx.factor
            return gradient, None, None

    def check(at=None, factor=1.0, **options):
        def wrong(*tensors):
            tensors, rest = list(tensors), at
            for k, size in enumerate(sizes):
                if 0 <= rest < size:
                    tensors[k] = Planted.apply(tensors[k], rest, factor)
                rest -= size
            return right(*tensors)

        return gf.torch.check_function(wrong if at is not None else right, inputs, **options)

    def f(*arrays):
        with torch.no_grad():
            return right(*inputs).float().numpy()

    return RandomOperator(f"{name} (PyTorch), seed {seed}", check, sizes, f, arrays, is_saturated)
