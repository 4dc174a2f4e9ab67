#!/bin/sh
# keras 3.15.1 with the backends torch 2.13.0 and jax 0.10.2: the same Keras function has other gradients by backend
# where it has a kink, for the values are the same and the derivatives are the backend's own. |x| has slope 0 at 0 in
# torch and 1 in jax, so where a prediction meets its target mean_absolute_error has gradient 0 in the one and -1/n in
# the other, and mean_absolute_percentage_error, with a target of 0, 0 and -1e9/n. leaky_relu, hard_tanh and clip
# differ too, and std of equal numbers and norm of zeros are 0 in torch and not a number in jax, hypot(0, 0) the other
# way round.
# Exits with 0 if that is so, with 1 if not.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install --quiet keras==3.15.1 torch==2.13.0 jax==0.10.2 jaxlib==0.10.2 numpy==2.4.6
"$folder/venv/bin/python" - <<'PYTHON'
import json
import os
import subprocess
import sys

ONE_BACKEND = """
import json, os
import numpy as np
import keras
from keras import ops

keras.config.set_floatx("float64")
if os.environ["KERAS_BACKEND"] == "jax":
    import jax
    jax.config.update("jax_enable_x64", True)
    def value_and_gradient(f, x):
        value, gradient = jax.value_and_grad(lambda x: ops.sum(f(x)))(jax.numpy.asarray(x, float))
        return float(value), gradient.tolist()
else:
    import torch
    def value_and_gradient(f, x):
        x = torch.tensor(x, dtype=torch.float64, requires_grad=True)
        value = ops.sum(f(x))
        return value.item(), torch.autograd.grad(value, x)[0].tolist()

target = ops.convert_to_tensor(np.array([2.0, 0.0]))
cases = {
    "mean_absolute_error": (lambda x: keras.losses.mean_absolute_error(target, x), [2.0, 0.0]),
    "mean_absolute_percentage_error": (lambda x: keras.losses.mean_absolute_percentage_error(target, x), [2.0, 0.0]),
    "mean_squared_error": (lambda x: keras.losses.mean_squared_error(target, x), [2.0, 0.0]),
    "huber": (lambda x: keras.losses.huber(target, x), [2.0, 0.0]),
    "relu": (ops.relu, [-1.0, 0.0]),
    "leaky_relu": (ops.leaky_relu, [-1.0, 0.0]),
    "hard_tanh": (ops.hard_tanh, [-1.0, 1.0]),
    "clip": (lambda x: ops.clip(x, 0.0, 2.0), [2.0, 0.0]),
    "std": (ops.std, [2.0, 2.0]),
    "norm": (ops.norm, [0.0, 0.0]),
    "hypot": (lambda x: ops.hypot(x, 0.0 * x), [2.0, 0.0]),
}
print(json.dumps({name: value_and_gradient(f, x) for name, (f, x) in cases.items()}))
"""
found = {}
for backend in ("torch", "jax"):
    environment = os.environ | {"KERAS_BACKEND": backend}
    found[backend] = json.loads(subprocess.check_output([sys.executable, "-c", ONE_BACKEND], env=environment))
nan = float("nan")
expected = {
    "mean_absolute_error": ([0.0, 0.0], [-0.5, -0.5]),
    "mean_absolute_percentage_error": ([0.0, 0.0], [-25.0, -5e8]),
    "mean_squared_error": ([0.0, 0.0], [0.0, 0.0]),
    "huber": ([0.0, 0.0], [0.0, 0.0]),
    "relu": ([0.0, 0.0], [0.0, 0.0]),
    "leaky_relu": ([0.2, 0.2], [0.2, 1.0]),
    "hard_tanh": ([0.0, 0.0], [1.0, 1.0]),
    "clip": ([1.0, 1.0], [0.5, 0.5]),
    "std": ([0.0, 0.0], [nan, nan]),
    "norm": ([0.0, 0.0], [nan, nan]),
    "hypot": ([1.0, nan], [1.0, 0.5]),
}
as_stated = True
same = lambda a, b: all(x == y or (x != x and y != y) or abs(x - y) < 1e-6 * abs(y) for x, y in zip(a, b, strict=True))
for name, (by_torch, by_jax) in expected.items():
    value, gradient = found["torch"][name]
    other_value, other = found["jax"][name]
    print(f"{name:31} value {value} {other_value}, gradient of torch {gradient}, of jax {other}")
    as_stated &= abs(value - other_value) < 1e-12 and same(gradient, by_torch) and same(other, by_jax)
sys.exit(0 if as_stated else 1)
PYTHON
