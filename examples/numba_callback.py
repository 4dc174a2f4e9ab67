"""Logistic regression compiled by numba: the loss as a C callback, the gradient by hand in NumPy."""

import numba
import numpy as np
from numba import carray, types

import gradcheck_fast as gf

random = np.random.default_rng(0)
data = random.normal(size=(200, 4))
data[:, 3] = data[:, :3].sum(axis=1) + random.normal(size=200) > 0  # the last column is the label
shape = data.shape


@numba.cfunc(types.double(types.CPointer(types.double), types.intp, types.voidptr))
def loss(theta, n, user_data):
    rows = carray(user_data, shape, np.float64)
    total = 0.0
    for k in range(shape[0]):
        z = theta[n - 1]
        for i in range(n - 1):
            z += theta[i] * rows[k, i]
        total += max(z, 0.0) - z * rows[k, n - 1] + np.log1p(np.exp(-abs(z)))
    return total / shape[0]


def gradient(params):
    X, y = data[:, :3], data[:, 3]
    error = (1 / (1 + np.exp(-(X @ params["w"] + params["b"]))) - y) / len(y)
    return {"w": X.T @ error, "b": error.sum()}


def main():
    params = {"w": np.array([0.5, -0.2, 0.1]), "b": 0.3}
    report = gf.gradcheck(gf.callback(loss, user_data=data, threadsafe=True), gradient, params)
    print(report)
    return report


if __name__ == "__main__":
    main()
