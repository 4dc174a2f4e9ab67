"""A network whose loss and gradient are written in C, compiled here by cc and checked as they are."""

import ctypes
import os
import subprocess
import tempfile
from pathlib import Path

import numpy as np

import gradcheck_fast as gf

SOURCE = Path(__file__).with_suffix(".c")


class Data(ctypes.Structure):
    """``struct data``."""

    _fields_ = (("samples", ctypes.c_ssize_t), ("X", ctypes.c_void_p), ("y", ctypes.c_void_p))

    def __init__(self, X, y):
        self.arrays = np.ascontiguousarray(X, float), np.ascontiguousarray(y, float)  # kept alive
        super().__init__(len(y), *(array.ctypes.data for array in self.arrays))


def build():
    """The compiled library, its functions declared."""
    with tempfile.TemporaryDirectory() as folder:
        library = Path(folder) / "callback.so"
        compiler = os.environ.get("CC", "cc")
        command = [compiler, "-O3", "-shared", "-fPIC", f"-I{gf.get_include()}", SOURCE, "-o", library, "-lm"]
        subprocess.run(command, check=True)
        network = ctypes.CDLL(str(library))
    vector = np.ctypeslib.ndpointer(np.float64, flags="C")
    network.loss.restype = ctypes.c_double
    network.loss.argtypes = [ctypes.POINTER(ctypes.c_double), ctypes.c_ssize_t, ctypes.c_void_p]
    network.gradient.restype = None
    network.gradient.argtypes = [vector, ctypes.POINTER(Data), ctypes.c_int, vector]
    return network


def main():
    random = np.random.default_rng(0)
    X = random.normal(size=(50, 4))
    y = np.sin(X).sum(axis=1)
    shapes = {"W1": (4, 16), "b1": (16,), "W2": (16,), "b2": ()}
    params = {name: 0.5 * random.normal(size=shape) for name, shape in shapes.items()}

    network, data = build(), Data(X, y)
    loss = gf.callback(network.loss, user_data=data, threadsafe=True)

    def gradient(params, mistake=False):
        theta = np.concatenate([np.ravel(array) for array in params.values()])
        result = np.empty_like(theta)
        network.gradient(theta, data, mistake, result)
        return result

    right = gf.gradcheck(loss, gradient, params)
    print(right)
    wrong = gf.gradcheck(loss, lambda params: gradient(params, mistake=True), params)
    print(f"\nWith a mistake in the derivative of tanh:\n\n{wrong}")
    return right, wrong


if __name__ == "__main__":
    main()
