"""The second tutorial's network: 2-3-1, sigmoid, no biases, J = ½ Σ (y - ŷ)², as a class with unrolled parameters.

X is (hours asleep, hours studied), y the score of a test.
"""

import numpy as np

import gradcheck_fast as gf

X = np.array([[3, 5], [5, 1], [10, 2]], dtype=float)
X = X / X.max(axis=0)
y = np.array([[75], [82], [93]], dtype=float) / 100


class NeuralNetwork:
    def __init__(self, seed=0):
        rng = np.random.default_rng(seed)
        self.W1, self.W2 = rng.normal(size=(2, 3)), rng.normal(size=(3, 1))

    def forward(self, X):
        self.z2 = X @ self.W1
        self.a2 = self.sigmoid(self.z2)
        self.z3 = self.a2 @ self.W2
        return self.sigmoid(self.z3)

    def sigmoid(self, z):
        return 1 / (1 + np.exp(-z))

    def sigmoidPrime(self, z):
        return np.exp(-z) / (1 + np.exp(-z)) ** 2

    def costFunction(self, X, y):
        return 0.5 * np.sum((y - self.forward(X)) ** 2)

    def computeGradients(self, X, y):
        yHat = self.forward(X)
        delta3 = -(y - yHat) * self.sigmoidPrime(self.z3)
        dJdW2 = self.a2.T @ delta3
        delta2 = delta3 @ self.W2.T * self.sigmoidPrime(self.z2)
        return np.concatenate(((X.T @ delta2).ravel(), dJdW2.ravel()))

    def getParams(self):
        return np.concatenate((self.W1.ravel(), self.W2.ravel()))

    def setParams(self, params):
        self.W1, self.W2 = params[:6].reshape(2, 3), params[6:].reshape(3, 1)


def main():
    # The warm-up: f(x) = x² at 1.5 with ε = 1e-4
    slope = gf.numerical_gradient(lambda x: x**2, 1.5, step=1e-4)
    print(f"f(x) = x² at 1.5: {slope!r} (2x is 3)\n")

    NN = NeuralNetwork()

    # The class as it is, in two lines:
    loss = lambda params: (NN.setParams(params), NN.costFunction(X, y))[1]
    plain = gf.gradcheck(loss, NN.computeGradients(X, y), NN.getParams(), step=1e-4)
    print(plain)

    # The same network described to gradcheck_fast, which then needs no ε:
    net = gf.Network(
        [gf.Dense(2, 3, "sigmoid", bias=False), gf.Dense(3, 1, "sigmoid", bias=False)],
        cost=gf.SquaredError(factor=0.5, reduction="sum"),
    )
    compiled = gf.gradcheck(net.loss(X, y), NN.computeGradients(X, y), NN.getParams())
    print(f"\nCompiled:\n\n{compiled}")
    return plain, compiled


if __name__ == "__main__":
    main()
