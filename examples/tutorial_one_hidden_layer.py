"""The first tutorial's network: one hidden layer, sigmoid, E = 1/N Σ_n Σ_k (y_k - x_k)².

Forward pass and back-propagation are written by hand; gradcheck_fast says whether they agree.
"""

import numpy as np

import gradcheck_fast as gf


def sigmoid(z):
    return 1 / (1 + np.exp(-z))


def forward(params, inputs):
    a = sigmoid(inputs @ params["W1"] + params["b1"])
    x = sigmoid(a @ params["W2"] + params["b2"])
    return a, x


def cost(params, inputs, y):
    _, x = forward(params, inputs)
    return np.sum((y - x) ** 2) / len(inputs)


def backpropagate(params, inputs, y):
    a, x = forward(params, inputs)
    dx = -2 * (y - x) / len(inputs) * x * (1 - x)
    da = dx @ params["W2"].T * a * (1 - a)
    return {"W1": inputs.T @ da, "b1": da.sum(axis=0), "W2": a.T @ dx, "b2": dx.sum(axis=0)}


def main():
    rng = np.random.default_rng(1)
    inputs, y = rng.normal(size=(20, 4)), rng.uniform(size=(20, 3))

    net = gf.Network(
        [gf.Dense(4, 6, "sigmoid"), gf.Dense(6, 3, "sigmoid")], cost=gf.SquaredError(reduction="batchmean")
    )
    params = net.init(seed=0)
    gradient = backpropagate(params, inputs, y)

    # Compiled: the network is described to gradcheck_fast, which has its own forward pass.
    compiled = gf.gradcheck(net.loss(inputs, y), gradient, params)
    print(compiled)

    # As in the tutorial: the cost is our own Python function, perturbed parameter by parameter.
    plain = gf.gradcheck(lambda p: cost(p, inputs, y), gradient, params, step=1e-4)
    print("\nThe same with our own cost function, two calls per parameter:\n")
    print(plain)
    return compiled, plain


if __name__ == "__main__":
    main()
