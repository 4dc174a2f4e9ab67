"""Losses with flax, equinox and optax."""

import jax
import jax.numpy as jnp

from .registry import example


@example("flax", "optax")
def flax_classifier(rng, key):
    import optax
    from flax import linen as nn

    class Classifier(nn.Module):
        @nn.compact
        def __call__(self, x):
            x = nn.relu(nn.Conv(4, (3, 3), param_dtype=jnp.float64)(x))
            x = nn.avg_pool(x, (2, 2), (2, 2))
            x = nn.LayerNorm(param_dtype=jnp.float64)(x.reshape(len(x), -1))
            return nn.Dense(3, param_dtype=jnp.float64)(x)

    X, y = rng.normal(size=(2, 6, 6, 1)), rng.integers(0, 3, 2)
    model = Classifier()
    params = model.init(key, X)
    return lambda p: optax.softmax_cross_entropy_with_integer_labels(model.apply(p, X), y).mean(), params


@example("flax", "optax")
def flax_attention(rng, key):
    import optax
    from flax import linen as nn

    class Encoder(nn.Module):
        @nn.compact
        def __call__(self, x):
            attend = nn.MultiHeadDotProductAttention(2, param_dtype=jnp.float64)
            x = x + attend(nn.RMSNorm(param_dtype=jnp.float64)(x), mask=nn.make_causal_mask(x[..., 0]))
            return nn.Dense(2, param_dtype=jnp.float64)(nn.gelu(x))

    X, y = rng.normal(size=(2, 4, 6)), rng.normal(size=(2, 4, 2))
    model = Encoder()
    return lambda p: optax.huber_loss(model.apply(p, X), y).mean(), model.init(key, X)


@example("flax", "optax")
def flax_batch_norm(rng, key):
    import optax
    from flax import linen as nn

    class Net(nn.Module):
        @nn.compact
        def __call__(self, x):
            x = nn.BatchNorm(use_running_average=False, param_dtype=jnp.float64)(
                nn.Dense(5, param_dtype=jnp.float64)(x)
            )
            return nn.Dense(1, param_dtype=jnp.float64)(nn.leaky_relu(x))[:, 0]

    X, y = rng.normal(size=(6, 3)), rng.integers(0, 2, 6)
    model = Net()
    variables = model.init(key, X)

    def loss(params):
        logits, _ = model.apply({**variables, "params": params}, X, mutable=["batch_stats"])
        return optax.sigmoid_binary_cross_entropy(logits, y).mean()

    return loss, variables["params"]


@example("flax", "optax")
def flax_recurrent(rng, key):
    from flax import linen as nn

    model = nn.RNN(nn.GRUCell(4, param_dtype=jnp.float64))
    X = rng.normal(size=(2, 5, 3))
    return lambda p: jnp.sum(model.apply(p, X)[:, -1] ** 2), model.init(key, X)


@example("equinox", "optax")
def equinox_mlp(rng, key):
    import equinox as eqx
    import optax

    model = eqx.nn.MLP(3, 2, 6, 2, activation=jax.nn.silu, key=key)
    params, static = eqx.partition(model, eqx.is_inexact_array)
    X, y = rng.normal(size=(5, 3)), rng.normal(size=(5, 2))

    @eqx.filter_jit
    def loss(params):
        return optax.l2_loss(jax.vmap(eqx.combine(params, static))(X), y).mean()

    return loss, params


@example("equinox", "optax")
def equinox_convolution(rng, key):
    import equinox as eqx
    import optax

    first, second, third = jax.random.split(key, 3)
    model = eqx.nn.Sequential([
        eqx.nn.Conv2d(1, 3, 3, key=first), eqx.nn.Lambda(jax.nn.relu), eqx.nn.MaxPool2d(2, 2),
        eqx.nn.ConvTranspose2d(3, 2, 2, stride=2, key=second), eqx.nn.GroupNorm(2, 2), eqx.nn.Lambda(jnp.ravel),
        eqx.nn.Linear(2 * 4 * 4, 3, key=third),
    ])  # fmt: skip
    params, static = eqx.partition(model, eqx.is_inexact_array)
    X, y = rng.normal(size=(2, 1, 6, 6)), rng.integers(0, 3, 2)

    def loss(params):
        logits = jax.vmap(eqx.combine(params, static))(X)
        return optax.softmax_cross_entropy_with_integer_labels(logits, y).mean()

    return loss, params


@example("optax")
def ctc(rng, key):
    import optax

    params = rng.normal(size=(2, 7, 4))
    labels, padding = jnp.array([[1, 2, 2], [3, 1, 0]]), jnp.array([[0.0, 0, 0], [0, 0, 1]])
    return lambda logits: optax.ctc_loss(logits, jnp.zeros((2, 7)), labels, padding).mean(), params
