"""Calls of JAX functions, by the primitive that each of them is there for; the arguments are `INPUTS` by name."""

from __future__ import annotations

import jax
import numpy as np
from jax import lax
from jax import numpy as jnp
from jax.ad_checkpoint import checkpoint_name
from jax.custom_batching import custom_vmap
from jax.extend.core import primitives
from jax.lax import GatherDimensionNumbers, ScatterDimensionNumbers

_rng = np.random.default_rng(7)
_draw = lambda *shape: _rng.normal(size=shape)
_s = _draw(4, 4)
INPUTS = {
    "x": _draw(3, 4), "y": np.abs(_draw(3, 4)) + 0.3, "v": _draw(4), "w": _draw(4, 2), "b": _draw(2, 3, 4),
    "s": _s @ _s.T + 4.0 * np.eye(4), "i": _draw(2, 3, 6, 5), "k": _draw(4, 3, 3, 2), "u": np.tanh(_draw(3, 4)),
    "q": 2.0 * np.eye(4) + 0.3 * _draw(2, 4, 4),
}  # fmt: skip

_rows = np.array([2, 0, 0, 1])
_whole = GatherDimensionNumbers(offset_dims=(1,), collapsed_slice_dims=(0,), start_index_map=(0,))
_blocks = GatherDimensionNumbers(offset_dims=(0, 2), collapsed_slice_dims=(), start_index_map=(1, 0))
_into = ScatterDimensionNumbers(
    update_window_dims=(1,), inserted_window_dims=(0,), scatter_dims_to_operand_dims=(0,)
)  # fmt: skip
_corners = np.array([[1, 0], [2, 1], [-1, 5]])


def _gather_by_samples(b):
    return jax.vmap(lambda rows, place: lax.dynamic_slice(rows, (place, 1), (2, 3)))(b, np.array([0, 1]))


def _scatter_by_samples(b, w):
    return jax.vmap(lambda rows, place, part: rows.at[place, :2].add(part))(b, np.array([2, 0]), w[:2])


def _loop(x, v):
    return lax.while_loop(lambda c: c[0] < 3, lambda c: (c[0] + 1, jnp.tanh(c[1] + v)), (0, x))[1]


def _until_small(v):
    return lax.while_loop(lambda z: jnp.sum(z**2) > 0.1, lambda z: 0.7 * z, v)


def _scan(x, v, reverse=False):
    def body(carry, row):
        count, h = carry
        h = jnp.tanh(h + row * v)
        return (count + 1, h), (h * count, count)

    (count, last), (rows, counts) = lax.scan(body, (0, jnp.zeros(4)), x, reverse=reverse)
    return last * count + jnp.sum(rows * counts[:, None], axis=0)


@jax.custom_vjp
def _own(x):
    return jnp.sin(x) ** 2


_own.defvjp(lambda x: (_own(x), x), lambda x, d: (d * 2.0 * jnp.sin(x) * jnp.cos(x),))


_batched = custom_vmap(lambda x: jnp.sin(x))
_batched.def_vmap(lambda size, is_batched, x: (jnp.sin(x), True))


def _shape_of(array):
    return jax.ShapeDtypeStruct(array.shape, array.dtype)


#: What these primitives give does not depend on the parameters in any call: JAX itself evaluates them.
PLAIN = ("random_bits", "random_seed", "random_split", "random_fold_in", "random_wrap", "random_unwrap",
         "shift_right_logical", "bitcast_convert_type")  # fmt: skip
#: Calls of functions that are not known: they are differenced by themselves.
OPAQUE = ("eigh", "svd", "qr", "pure_callback")
#: Other names that primitives have or had in some version of JAX.
OLDER_NAMES = {
    "jit": ("pjit", "closed_call", "core_call", "core_closed_call"), "remat2": ("remat", "checkpoint"),
    "custom_jvp_call": ("custom_jvp_call_jaxpr",), "custom_vjp_call": ("custom_vjp_call_jaxpr",),
    "scatter-add": ("scatter_add",), "scatter-sub": ("scatter_sub",), "scatter-mul": ("scatter_mul",),
    "scatter-min": ("scatter_min",), "scatter-max": ("scatter_max",),
}  # fmt: skip

CALLS = {
    "exp": [lambda x: jnp.exp(x)],
    "exp2": [lambda x: jnp.exp2(x)],
    "log": [lambda y: jnp.log(y)],
    "log1p": [lambda y: jnp.log1p(y)],
    "expm1": [lambda x: jnp.expm1(x)],
    "sqrt": [lambda y: jnp.sqrt(y)],
    "rsqrt": [lambda y: lax.rsqrt(y)],
    "cbrt": [lambda y: jnp.cbrt(y)],
    "sin": [lambda x: jnp.sin(x)],
    "cos": [lambda x: jnp.cos(x)],
    "tan": [lambda u: jnp.tan(u)],
    "asin": [lambda u: jnp.arcsin(u)],
    "acos": [lambda u: jnp.arccos(u)],
    "atan": [lambda x: jnp.arctan(x)],
    "sinh": [lambda x: jnp.sinh(x)],
    "cosh": [lambda x: jnp.cosh(x)],
    "tanh": [lambda x: jnp.tanh(x)],
    "asinh": [lambda x: jnp.arcsinh(x)],
    "acosh": [lambda y: jnp.arccosh(1.0 + y)],
    "atanh": [lambda u: jnp.arctanh(u)],
    "floor": [lambda x: jnp.floor(x) * x],
    "ceil": [lambda x: jnp.ceil(x) * x],
    "round": [lambda x: x * lax.stop_gradient(lax.round(10.0 * x)), lambda x: x * lax.round(x, lax.RoundingMethod(0))],
    "atan2": [lambda x, y: jnp.arctan2(x, y)],
    "logistic": [lambda x: jax.nn.sigmoid(x)],
    "erf": [lambda x: lax.erf(x)],
    "erfc": [lambda x: lax.erfc(x)],
    "lgamma": [lambda y: lax.lgamma(y)],
    "add": [lambda x, v: x + v, lambda x: x + 2.0],
    "add_any": [lambda x, y: primitives.add_jaxvals_p.bind(x, y)],
    "sub": [lambda x, v: x - v],
    "mul": [lambda x, v: x * v],
    "div": [lambda x, y: x / y],
    "rem": [lambda x, y: lax.rem(x, y), lambda x, y: jnp.mod(x, y)],
    "pow": [lambda y, x: y**x, lambda y: y**2.5],
    "integer_pow": [lambda x: x**3, lambda y: y**-2, lambda x: x**1],
    "square": [lambda x: jnp.square(x)],
    "neg": [lambda x: -x],
    "abs": [lambda x: jnp.abs(x)],
    "sign": [lambda x: x * jnp.sign(x)],
    "max": [lambda x, v: jnp.maximum(x, v)],
    "min": [lambda x: jnp.minimum(x, 0.1)],
    "clamp": [lambda x, y: lax.clamp(-0.5 + 0.0 * y, x, y), lambda x: lax.clamp(-1.0, x, 1.0)],
    "is_finite": [lambda x: jnp.where(jnp.isfinite(x), x, 0.0)],
    "eq": [lambda x: jnp.where(x == 0.0, 1.0, x)],
    "ne": [lambda x: jnp.where(x != x, 1.0, x)],
    "lt": [lambda x, y: jnp.where(x < y, x, y)],
    "le": [lambda x, y: jnp.where(x <= y, x, y)],
    "gt": [lambda x, y: jnp.where(x > y, x, y)],
    "ge": [lambda x, y: (x >= y) * x],
    "eq_to": [lambda x, y: jnp.where(primitives.eq_to_p.bind(x, y), x, y)],
    "lt_to": [lambda x, y: jnp.where(primitives.lt_to_p.bind(x, y), x, y)],
    "le_to": [lambda x, y: jnp.where(primitives.le_to_p.bind(x, y), x, y)],
    "and": [lambda x, y: jnp.where((x > 0) & (y > 1), x, y)],
    "or": [lambda x, y: jnp.where((x > 0) | (y > 1), x, y)],
    "xor": [lambda x, y: jnp.where((x > 0) ^ (y > 1), x, y)],
    "not": [lambda x: jnp.where(~(x > 0), x, 2.0 * x)],
    "select_n": [
        lambda x, y: jnp.where(np.arange(4) < 2, x, y),
        lambda x, y: lax.select_n(np.arange(12).reshape(3, 4) % 3, x, y, x * y),
        lambda x, y: lax.select_n((x > 0).astype(np.int32) + (x > 0.5), x, y, x * y),
    ],
    "convert_element_type": [lambda x: x * (x > 0).astype(float), lambda x: x * x.astype(np.int32)],
    "copy": [lambda x: jnp.array(x, copy=True)],
    "name": [lambda x: checkpoint_name(x, "x") * 2.0],
    "reduce_precision": [lambda x: x * lax.reduce_precision(np.ones(4), 8, 7)],
    "optimization_barrier": [lambda x, y: lax.optimization_barrier((x, y))[1]],
    "stop_gradient": [lambda x: x * lax.stop_gradient(np.ones(4)), lambda x: jax.nn.softmax(x)],
    "reshape": [lambda x: x.reshape(2, 6), lambda x: x.T.reshape(-1)],
    "squeeze": [lambda x: jnp.squeeze(x[:, None])],
    "broadcast_in_dim": [lambda v: jnp.broadcast_to(v, (3, 4)) * 2.0, lambda v: v[:, None] * v],
    "transpose": [lambda b: jnp.transpose(b, (2, 0, 1))],
    "slice": [lambda x: x[1:, 0:3:2]],
    "rev": [lambda x: x[::-1, ::-1], lambda x: jnp.flip(x, 1)],
    "concatenate": [lambda x, y: jnp.concatenate([x, y, np.ones((3, 1))], axis=1)],
    "stack": [lambda x, y: jnp.stack([x, y], axis=1)],
    "tile": [lambda x: jnp.tile(x, (2, 1, 3))],
    "split": [lambda x: jnp.multiply(*jnp.split(x, 2, axis=1))],
    "pad": [
        lambda x: lax.pad(x, 0.5, ((1, 2, 0), (0, 1, 2))), lambda x: lax.pad(x, 0.0, ((-1, 1, 1), (2, -2, 0))),
        lambda x, v: lax.pad(x, v[0], ((1, 0, 0), (0, -1, 1))), lambda x: jnp.pad(x, 2),
    ],
    "iota": [lambda x: x * jnp.arange(4), lambda x: x * lax.broadcasted_iota(float, (3, 4), 0)],
    "dynamic_slice": [lambda x: lax.dynamic_slice(x, (1, 9), (2, 2)), lambda x: x[jnp.argmax(x[:, 0])]],
    "dynamic_update_slice": [
        lambda x, v: lax.dynamic_update_slice(x, v[None, :3], (7, 0)),
        lambda v: lax.dynamic_update_slice(jnp.zeros((3, 4)), v[None], (1, 0)),
    ],
    "gather": [
        lambda x: x[_rows],
        lambda x: x[_rows, np.arange(4)],
        lambda x: jnp.take(x, np.array([[0, 9], [-1, 1]]), axis=0, mode="fill", fill_value=0.0),
        lambda x: lax.gather(x, _rows[:, None], _whole, (1, 4), mode="clip"),
        lambda x: lax.gather(x, _corners, _blocks, (2, 3), mode="clip"),
        lambda x: lax.gather(x, _corners, _blocks, (2, 3), mode="fill", fill_value=2.0),
        _gather_by_samples,
        lambda x: jnp.take_along_axis(x, np.array([[3], [0], [1]]), axis=1),
    ],
    "scatter": [lambda x, v: x.at[1].set(v), lambda x, v: x.at[np.array([0, 7]), 1].set(v[:2], mode="drop"),
                lambda v: jnp.zeros((3, 4)).at[:, np.array([3, 1])].set(v[:2])],
    "scatter-add": [
        lambda x, b: x.at[_rows[:3]].add(b[0]), lambda x: jax.ops.segment_sum(x, np.array([1, 0, 1]), 3),
        lambda x: jax.ops.segment_sum(x, np.array([1, 5, 1]), 3), _scatter_by_samples,
        lambda x, b: lax.scatter_add(x, np.array([[2], [4]]), b[0, :2], _into, mode="clip"),
        lambda x, b: lax.scatter_add(x, np.array([[2], [4]]), b[0, :2], _into, mode="drop"),
    ],
    "scatter-sub": [lambda x, v: x.at[1].subtract(v)],
    "scatter-mul": [lambda x, v: x.at[np.array([2, 0])].multiply(jnp.stack([v, 2.0 * v]), unique_indices=True)],
    "scatter-min": [lambda x, v: x.at[np.array([0, 0])].min(jnp.stack([v, 2.0 * v]))],
    "scatter-max": [lambda x: jax.ops.segment_max(x, np.array([1, 0, 1]), 2)],
    "reduce_sum": [lambda x: x.sum(0), lambda x: x.mean(), lambda x: jnp.sum(x > 0) * x],
    "reduce_prod": [lambda x: jnp.prod(x, axis=1)],
    "reduce_max": [lambda b: jnp.max(b, axis=(0, 2))],
    "reduce_min": [lambda x: jnp.min(x)],
    "reduce_and": [lambda x: jnp.where(jnp.all(x > 0.0, axis=0), x, 2.0 * x)],
    "reduce_or": [lambda x: jnp.where(jnp.any(x > 0.0, axis=1, keepdims=True), x, 2.0 * x)],
    "cumsum": [lambda x: jnp.cumsum(x, axis=1), lambda x: lax.cumsum(x, 0, reverse=True)],
    "cumprod": [lambda x: jnp.cumprod(x, axis=1)],
    "cummax": [lambda x: lax.cummax(x, 1)],
    "cummin": [lambda x: lax.cummin(x, 0, reverse=True)],
    "cumlogsumexp": [lambda x: lax.cumlogsumexp(x, 1)],
    "reduce_window_sum": [
        lambda x: lax.reduce_window(x, 0.0, lax.add, (2, 2), (1, 2), "SAME"),
        lambda i: lax.reduce_window(i, 0.0, lax.add, (1, 1, 2, 3), (1, 1, 2, 1), ((0, 0), (0, 0), (1, 0), (0, 2)),
                                    window_dilation=(1, 1, 2, 1)),
        lambda x: lax.reduce_window(x, 0.0, lax.add, (2, 2), (1, 1), "VALID", base_dilation=(2, 1)),
    ],
    "reduce_window_max": [lambda i: lax.reduce_window(i, -jnp.inf, lax.max, (1, 1, 3, 2), (1, 1, 2, 2), "SAME")],
    "reduce_window_min": [lambda x: lax.reduce_window(x, jnp.inf, lax.min, (2, 2), (1, 1), "VALID")],
    "argmax": [lambda x: x[jnp.argmax(x[:, 1])], lambda x: jax.nn.one_hot(jnp.argmax(x, 1), 4) * x],
    "argmin": [lambda x: x * (jnp.argmin(x, axis=0) + 1.0)],
    "sort": [
        lambda x: jnp.sort(x, axis=0), lambda x, y: y[jnp.argsort(x[:, 0])], lambda x: jnp.median(x, axis=1),
        lambda v: lax.sort((jnp.round(v), v, 2.0 * v), num_keys=2)[2],
    ],
    "top_k": [lambda x: lax.top_k(x, 2)[0], lambda x, y: jnp.sum(x) * jnp.take_along_axis(y, lax.top_k(x, 3)[1], 1)],
    "dot_general": [
        lambda x, w: x @ w, lambda x, y: x @ y.T, lambda v, w: v @ w, lambda v: v @ v,
        lambda b, x: jnp.einsum("nij,kj->nik", b, x), lambda b: jnp.einsum("nij,nkj->nik", b, b),
        lambda b, x: jnp.tensordot(b, x, axes=([1, 2], [0, 1])), lambda x, v: jnp.einsum("ij,k->jki", x, v),
        lambda b, x: jnp.einsum("nij,ij->ni", b, x), lambda b: jnp.einsum("nij,mij->ijnm", b, b),
    ],
    "conv_general_dilated": [
        lambda i, k: lax.conv_general_dilated(i, k, (1, 1), "SAME"),
        lambda i, k: lax.conv_general_dilated(i, k, (2, 1), ((1, 0), (-1, 2)), rhs_dilation=(1, 2)),
        lambda i, k: lax.conv_general_dilated(i, k, (1, 2), ((0, 1), (2, 0)), lhs_dilation=(2, 3)),
        lambda i, k: lax.conv_general_dilated(
            jnp.moveaxis(i, 1, 3), jnp.transpose(k, (2, 3, 1, 0)), (1, 1), "VALID",
            dimension_numbers=("NHWC", "HWIO", "NHWC"),
        ),
        lambda i, k: lax.conv_general_dilated(i, k[:3, :1], (1, 1), "SAME", feature_group_count=3),
        lambda i, k: lax.conv_general_dilated(i, k, (1, 1), "VALID", batch_group_count=2),
        lambda i, k: lax.conv_transpose(i, k, (2, 2), "SAME", dimension_numbers=("NCHW", "OIHW", "NCHW")),
        lambda b, w: lax.conv_general_dilated(b, jnp.stack([w[:3], w[1:]]), (1,), "VALID"),
    ],
    "cholesky": [lambda s: jnp.linalg.cholesky(s), lambda q: jnp.linalg.cholesky(q @ jnp.swapaxes(q, 1, 2))],
    "triangular_solve": [
        lambda s, w: lax.linalg.triangular_solve(s, w, left_side=True, lower=True),
        lambda q, x: lax.linalg.triangular_solve(q, jnp.stack([x, x]), transpose_a=True, unit_diagonal=True),
    ],
    "lu": [lambda s: jnp.linalg.slogdet(s)[1], lambda q: jnp.linalg.det(q), lambda q: jnp.linalg.inv(q)],
    "custom_linear_solve": [lambda s, w: jnp.linalg.solve(s, w)],
    "fft": [
        lambda x: jnp.abs(jnp.fft.rfft(x)), lambda x: jnp.abs(jnp.fft.fft2(x)) ** 2,
        lambda x: jnp.fft.irfft(jnp.fft.rfft(x) * jnp.fft.rfft(x[::-1])), lambda x: jnp.fft.irfft(jnp.fft.rfft(x), 5),
        lambda x: sum(
            jnp.abs(f(jnp.fft.rfft(0.3 * x)))
            for f in (jnp.log, jnp.sqrt, jnp.sin, jnp.cos, jnp.tan, jnp.sinh, jnp.cosh, jnp.tanh, jnp.expm1, jnp.log1p)
        ),
        lambda x: jnp.fft.irfft(jnp.fft.rfft(jnp.resize(x, 301)) ** 2, 301),
        lambda b: jnp.real(jnp.fft.ifftn(jnp.fft.fftn(b) * np.exp(1j * np.arange(4)))),
    ],
    "jit": [lambda x: jax.jit(jnp.sin)(x)],
    "remat2": [lambda x: jax.checkpoint(lambda z: jnp.sin(z) * z)(x)],
    "custom_jvp_call": [
        lambda x: jax.nn.relu(x), lambda x, y: jnp.logaddexp(x, y), lambda x: jax.nn.softplus(x),
        lambda x, y: jax.scipy.special.xlogy(x, y), lambda x: jax.nn.log_sigmoid(x),
    ],
    "custom_vmap_call": [lambda x: _batched(x)],
    "custom_vjp_call": [lambda x: _own(x)],
    "scan": [_scan, lambda x, v: _scan(x, v, reverse=True), lambda v: lax.fori_loop(0, 3, lambda k, z: z * v + k, v)],
    "while": [_loop, _until_small, lambda v: jax.vmap(_until_small)(v[:, None])],
    "cond": [
        lambda x: lax.cond(jnp.sum(x) > 0, jnp.sin, jnp.cos, x), lambda x: lax.cond(True, jnp.sin, jnp.cos, x),
        lambda x: lax.switch(jnp.sum(x > 0), [jnp.sin, jnp.cos, jnp.tanh], x),
        lambda x: lax.switch(1, [jnp.sin, jnp.cos, jnp.tanh], x),
    ],
    "platform_index": [lambda x: lax.platform_dependent(x, cpu=jnp.sin, default=jnp.cos)],
    "random_bits": [
        lambda x: jax.random.bernoulli(jax.random.key(0), 0.5, x.shape) * x,
        lambda x: x * jax.random.normal(jax.random.split(jax.random.key(3))[1], x.shape),
        lambda x: x * jax.random.uniform(jax.random.fold_in(jax.random.PRNGKey(3), 2), x.shape),
    ],
    "erf_inv": [lambda u: lax.erf_inv(0.9 * u)],
    "digamma": [lambda y: lax.digamma(y + 1.0)],
    "polygamma": [lambda y: lax.polygamma(np.ones(y.shape), y + 1.0)],
    "eigh": [lambda s: jnp.linalg.eigh(2.0 * s)[0]],
    "svd": [lambda x: jnp.linalg.svd(2.0 * x, compute_uv=False)],
    "qr": [lambda x: jnp.abs(jnp.diagonal(jnp.linalg.qr(2.0 * x)[1]))],
    "pure_callback": [lambda x: jax.pure_callback(np.sin, _shape_of(x), 2.0 * x)],
}  # fmt: skip
