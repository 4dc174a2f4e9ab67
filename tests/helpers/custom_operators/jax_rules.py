"""Functions of JAX with rules of their own: `jax.custom_vjp` and `jax.custom_jvp`."""

import jax
import numpy as np
from jax import numpy as jnp

import gradcheck_fast as gf

from .registry import operator


def normal(*shape, seed=0):
    return np.random.default_rng(seed).normal(size=shape)


@operator("jax", "the slope is that of the logarithm")
def softplus_with_custom_vjp(mistake):
    @jax.custom_vjp
    def softplus(x):
        return jnp.logaddexp(x, 0.0)

    def backward(x, v):
        return (v / (1.0 + jnp.exp(x)) if mistake else v * jax.nn.sigmoid(x),)

    softplus.defvjp(lambda x: (softplus(x), x), backward)
    return gf.jax.check_function(softplus, (normal(2, 4),))


@operator("jax", "the tangent of the second argument is lost")
def safe_division_with_custom_jvp(mistake):
    @jax.custom_jvp
    def divided(a, b):
        return jnp.where(b == 0.0, 0.0, a / jnp.where(b == 0.0, 1.0, b))

    @divided.defjvp
    def _(primals, tangents):
        (a, b), (da, db) = primals, tangents
        safe = jnp.where(b == 0.0, 1.0, b)
        out = divided(a, b)
        return out, (da - (0.0 if mistake else out * db)) / safe

    return gf.jax.check_function(divided, (normal(5), normal(5, seed=1)))


@operator("jax", "the residual is that of the input")
def fixed_point_with_custom_vjp(mistake):
    """z = tanh(W z + x), found by iteration, with the implicit derivative."""

    def solved(w, x):
        return jax.lax.fori_loop(0, 80, lambda _, z: jnp.tanh(w @ z + x), jnp.zeros_like(x))

    fixed_point = jax.custom_vjp(solved)

    def backward(kept, v):
        w, x, z = kept
        slope = 1.0 - (x if mistake else z) ** 2
        u = jnp.linalg.solve(jnp.eye(len(x)) - (slope[:, None] * w).T, v)
        dx = slope * u
        return jnp.outer(dx, z), dx

    def forward(w, x):
        z = solved(w, x)
        return z, (w, x, z)

    fixed_point.defvjp(forward, backward)
    return gf.jax.check_function(fixed_point, (0.3 * normal(4, 4), normal(4, seed=1)))


@operator("jax", "the norm is not in the slope")
def clipped_by_norm_with_custom_vjp(mistake):
    @jax.custom_vjp
    def clipped(x):
        return x / jnp.maximum(1.0, jnp.linalg.norm(x))

    def backward(x, v):
        norm = jnp.linalg.norm(x)
        unit = x / norm
        inside = v / norm if mistake else (v - unit * (unit @ v)) / norm
        return (jnp.where(norm > 1.0, inside, v),)

    clipped.defvjp(lambda x: (clipped(x), x), backward)
    return gf.jax.check_function(clipped, (2.0 * normal(5),))
