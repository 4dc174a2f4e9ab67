"""Measures which slopes frameworks take at kinks and ties, for the table of `diagnosis/kinks/conventions.py`.

    python tools/measure_kinks.py torch|jax|tensorflow|autograd

It prints the framework with its version, and for each function the slope by each entry that lies at the kink, in
float64. The framework has to be installed; nothing else is needed.
"""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np

#: What is measured: the arguments of each function, all of whose entries lie at a kink or tie.
POINTS: Mapping[str, Sequence[Any]] = {
    "relu": ([0.0],),
    "maximum(x, 0)": ([0.0],),
    "maximum": ([1.0], [1.0]),
    "minimum": ([1.0], [1.0]),
    "abs": ([0.0],),
    "max of an array": ([2.0, 2.0, 2.0],),
    "max along an axis": ([[2.0, 2.0, 2.0]],),
    "min of an array": ([2.0, 2.0, 2.0],),
    "min along an axis": ([[2.0, 2.0, 2.0]],),
    "max pooling": ([[[2.0, 2.0, 2.0]]],),
    "clip": ([-1.0, 1.0],),
    "leaky_relu": ([0.0],),
    "selu": ([0.0],),
    "relu6": ([0.0, 6.0],),
    "hardtanh": ([-1.0, 1.0],),
}
_OF_ARRAYS = ("max of an array", "max along an axis", "min of an array", "min along an axis", "max pooling")
#: The choices of `diagnosis/kinks/conventions.py`, and the slopes that they are at these points.
CHOICES: Mapping[str, Mapping[str, Sequence[float]]] = (
    {name: {"flat": (0.0,), "middle": (0.5,), "steep": (1.0,)} for name in ("relu", "maximum(x, 0)")}
    | {name: {"flat": (0.0, 0.0), "middle": (0.5, 0.5), "steep": (1.0, 1.0)} for name in ("clip", "relu6", "hardtanh")}
    | {name: {"first": (1.0, 0.0), "equal": (0.5, 0.5), "last": (0.0, 1.0)} for name in ("maximum", "minimum")}
    | {name: {"first": (1.0, 0.0, 0.0), "equal": (1 / 3, 1 / 3, 1 / 3), "last": (0.0, 0.0, 1.0)} for name in _OF_ARRAYS}
    | {"abs": {"left": (-1.0,), "middle": (0.0,), "right": (1.0,)}}
    | {"leaky_relu": {"flat": (0.1,), "middle": (0.55,), "steep": (1.0,)}}
    | {"selu": {"flat": (1.0507009873554805,), "steep": (1.7580993408473766,)}}
)
Slopes = Callable[[Callable[..., Any], Sequence[Any]], list[Any]]


def torch() -> tuple[str, Slopes, dict[str, Callable[..., Any]]]:
    """PyTorch's functions, and what finds their slopes."""
    torch: Any = importlib.import_module("torch")
    functional = torch.nn.functional

    def slopes(function: Callable[..., Any], points: Sequence[Any]) -> list[Any]:
        x = [torch.tensor(point, dtype=torch.float64, requires_grad=True) for point in points]
        return [grad.numpy() for grad in torch.autograd.grad(function(*x).sum(), x)]

    return torch.__version__, slopes, {
        "relu": torch.relu, "maximum(x, 0)": lambda x: torch.maximum(x, torch.zeros_like(x)),
        "maximum": torch.maximum, "minimum": torch.minimum, "abs": torch.abs, "max of an array": torch.max,
        "max along an axis": lambda x: torch.max(x, dim=1).values, "min of an array": torch.min,
        "min along an axis": lambda x: torch.min(x, dim=1).values,
        "max pooling": lambda x: functional.max_pool1d(x, 3), "clip": lambda x: torch.clamp(x, -1.0, 1.0),
        "leaky_relu": lambda x: functional.leaky_relu(x, 0.1), "selu": functional.selu, "relu6": functional.relu6,
        "hardtanh": functional.hardtanh,
    }  # fmt: skip


def jax() -> tuple[str, Slopes, dict[str, Callable[..., Any]]]:
    """JAX's functions, and what finds their slopes."""
    jax: Any = importlib.import_module("jax")
    jax.config.update("jax_enable_x64", True)
    jnp, nn = jax.numpy, jax.nn

    def slopes(function: Callable[..., Any], points: Sequence[Any]) -> list[Any]:
        x = [jnp.asarray(point) for point in points]
        return list(map(np.asarray, jax.grad(lambda x: function(*x).sum())(x)))

    def pool(x: Any) -> Any:
        return jax.lax.reduce_window(x, -jnp.inf, jax.lax.max, (1, 1, 3), (1, 1, 3), "VALID")

    return jax.__version__, slopes, {
        "relu": nn.relu, "maximum(x, 0)": lambda x: jnp.maximum(x, 0.0), "maximum": jnp.maximum,
        "minimum": jnp.minimum, "abs": jnp.abs, "max of an array": jnp.max,
        "max along an axis": lambda x: jnp.max(x, axis=1), "min of an array": jnp.min,
        "min along an axis": lambda x: jnp.min(x, axis=1), "max pooling": pool,
        "clip": lambda x: jnp.clip(x, -1.0, 1.0), "leaky_relu": lambda x: nn.leaky_relu(x, 0.1),
        "selu": nn.selu, "relu6": nn.relu6, "hardtanh": nn.hard_tanh,
    }  # fmt: skip


def tensorflow() -> tuple[str, Slopes, dict[str, Callable[..., Any]]]:
    """TensorFlow's functions (and Keras's hard tanh), and what finds their slopes."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    tf: Any = importlib.import_module("tensorflow")

    def slopes(function: Callable[..., Any], points: Sequence[Any]) -> list[Any]:
        x = [tf.Variable(point, dtype=tf.float64) for point in points]
        with tf.GradientTape() as tape:
            value = tf.reduce_sum(function(*x))
        return [grad.numpy() for grad in tape.gradient(value, x)]

    def pool(x: Any) -> Any:
        return tf.nn.max_pool1d(tf.transpose(x, [0, 2, 1]), 3, 3, "VALID")

    return tf.__version__, slopes, {
        "relu": tf.nn.relu, "maximum(x, 0)": lambda x: tf.maximum(x, tf.constant(0.0, tf.float64)),
        "maximum": tf.maximum, "minimum": tf.minimum, "abs": tf.abs, "max of an array": tf.reduce_max,
        "max along an axis": lambda x: tf.reduce_max(x, axis=1), "min of an array": tf.reduce_min,
        "min along an axis": lambda x: tf.reduce_min(x, axis=1), "max pooling": pool,
        "clip": lambda x: tf.clip_by_value(x, tf.constant(-1.0, tf.float64), tf.constant(1.0, tf.float64)),
        "leaky_relu": lambda x: tf.nn.leaky_relu(x, 0.1), "selu": tf.nn.selu, "relu6": tf.nn.relu6,
        "hardtanh": tf.keras.activations.hard_tanh,
    }  # fmt: skip


def autograd() -> tuple[str, Slopes, dict[str, Callable[..., Any]]]:
    """The functions of HIPS autograd, and what finds their slopes."""
    whole, anp = importlib.import_module("autograd"), importlib.import_module("autograd.numpy")
    version = importlib.import_module("importlib.metadata").version("autograd")

    def slopes(function: Callable[..., Any], points: Sequence[Any]) -> list[Any]:
        x = [np.array(point) for point in points]
        return list(whole.grad(lambda x: anp.sum(function(*x)))(x))

    return version, slopes, {
        "maximum(x, 0)": lambda x: anp.maximum(x, 0.0), "maximum": anp.maximum, "minimum": anp.minimum,
        "abs": anp.abs, "max of an array": anp.max, "max along an axis": lambda x: anp.max(x, axis=1),
        "min of an array": anp.min, "min along an axis": lambda x: anp.min(x, axis=1),
        "clip": lambda x: anp.clip(x, -1.0, 1.0),
    }  # fmt: skip


#: The frameworks, by the name of what is imported.
FRAMEWORKS = {"torch": torch, "jax": jax, "tensorflow": tensorflow, "autograd": autograd}


def measured(framework: str) -> tuple[str, dict[str, list[float]]]:
    """Returns the version of a framework, and the slopes at the kinks of each function that it has."""
    version, slopes, functions = FRAMEWORKS[framework]()
    flat = partial(np.concatenate, axis=None)
    return version, {name: flat(slopes(of, POINTS[name])).tolist() for name, of in functions.items()}


def choice(function: str, slopes: Sequence[float]) -> str:
    """Returns the choice that is these slopes; "none" if there is none."""
    return next((name for name, own in CHOICES[function].items() if np.allclose(own, slopes, atol=1e-6)), "none")


def main() -> None:
    """Prints what is measured for the framework that is asked for."""
    version, found = measured(sys.argv[1])
    print(sys.argv[1], version)
    for name, slopes in found.items():
        print(f"{name:20s} {choice(name, slopes):8s} {', '.join(f'{slope:.4g}' for slope in slopes)}")


if __name__ == "__main__":
    main()
