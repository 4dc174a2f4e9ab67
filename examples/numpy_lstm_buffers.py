"""An LSTM in NumPy, as a class that fills buffers of zeros over time, and a linear layer over its states.

The back-propagation through time is written by hand, with buffers of the same kind. The planted mistake forgets that
the cell state of one time also goes into that of the next.
"""

import numpy as np

import gradcheck_fast as gf

rng = np.random.default_rng(1)
X = rng.normal(size=(6, 3, 2))  # times, samples, features
Y = rng.normal(size=(6, 3, 1))


class LSTM:
    """The gates lie in the order input, forget, output, candidate; row 0 of the matrix is the bias."""

    def __init__(self, W):
        self.W = W
        self.d = W.shape[1] // 4

    def forward(self, X):
        n, b, size = X.shape
        d = self.d
        self.Hin = np.zeros((n, b, self.W.shape[0]))
        self.Hout = np.zeros((n, b, d))
        self.IFOG = np.zeros((n, b, 4 * d))
        self.C = np.zeros((n, b, d))
        self.Ct = np.zeros((n, b, d))
        for t in range(n):
            self.Hin[t, :, 0] = 1
            self.Hin[t, :, 1 : 1 + size] = X[t]
            self.Hin[t, :, 1 + size :] = self.Hout[t - 1] if t > 0 else 0
            z = self.Hin[t].dot(self.W)
            self.IFOG[t, :, : 3 * d] = 1 / (1 + np.exp(-z[:, : 3 * d]))
            self.IFOG[t, :, 3 * d :] = np.tanh(z[:, 3 * d :])
            i, f, o, g = np.split(self.IFOG[t], 4, axis=1)
            self.C[t] = i * g
            if t > 0:
                self.C[t] += f * self.C[t - 1]
            self.Ct[t] = np.tanh(self.C[t])
            self.Hout[t] = o * self.Ct[t]
        return self.Hout

    def backward(self, dHout_in, mistake=False):
        n, _, d = dHout_in.shape
        dHout = dHout_in.copy()
        dC = np.zeros_like(self.C)
        dIFOG = np.zeros_like(self.IFOG)
        self.dW = np.zeros_like(self.W)
        for t in reversed(range(n)):
            i, f, o, g = np.split(self.IFOG[t], 4, axis=1)
            dC[t] += dHout[t] * o * (1 - self.Ct[t] ** 2)
            dIFOG[t, :, :d] = dC[t] * g * i * (1 - i)
            if t > 0:
                dIFOG[t, :, d : 2 * d] = dC[t] * self.C[t - 1] * f * (1 - f)
                if not mistake:
                    dC[t - 1] += dC[t] * f
            dIFOG[t, :, 2 * d : 3 * d] = dHout[t] * self.Ct[t] * o * (1 - o)
            dIFOG[t, :, 3 * d :] = dC[t] * i * (1 - g**2)
            self.dW += self.Hin[t].T.dot(dIFOG[t])
            if t > 0:
                dHout[t - 1] += dIFOG[t].dot(self.W.T)[:, -d:]
        return self.dW


def loss(params):
    H = LSTM(params["W"]).forward(X)
    pred = H.dot(params["Wy"]) + params["by"]
    return 0.5 * np.sum((pred - Y) ** 2) / X.shape[1]


def backprop(params, mistake=False):
    lstm = LSTM(params["W"])
    H = lstm.forward(X)
    dpred = (H.dot(params["Wy"]) + params["by"] - Y) / X.shape[1]
    dWy = np.tensordot(H, dpred, axes=([0, 1], [0, 1]))
    dby = dpred.sum(axis=(0, 1))
    dW = lstm.backward(dpred.dot(params["Wy"].T), mistake)
    return {"W": dW, "Wy": dWy, "by": dby}


def init_params(hidden=4, seed=0):
    rng = np.random.default_rng(seed)
    return {
        "W": rng.normal(0, 0.7, (1 + X.shape[2] + hidden, 4 * hidden)),
        "Wy": rng.normal(size=(hidden, 1)),
        "by": np.zeros(1),
    }


def main():
    params = init_params()
    right = gf.gradcheck(loss, backprop, params)
    print(right)
    print("\nNow with a mistake planted: nothing goes back from a cell state to the one before.\n")
    wrong = gf.gradcheck(loss, lambda p: backprop(p, mistake=True), params)
    print(wrong)
    return right, wrong


if __name__ == "__main__":
    main()
