"""Mistakes in the back-propagation of the examples, each with the first of its deltas that is then wrong."""

from __future__ import annotations

from typing import NamedTuple


class Planted(NamedTuple):
    """A text of an example, what stands there in its place, and the first wrong delta on the way back."""

    example: str
    old: str
    new: str
    first: str


CNN, BLOCK, NORM, LSTM = "numpy_cnn", "numpy_transformer_block", "numpy_batchnorm", "numpy_lstm_buffers"

#: The functions of each example whose deltas have their own names.
OF = {CNN: ("backprop",), BLOCK: ("backprop",), NORM: ("loss", "backprop"), LSTM: ("backprop", "backward")}

FEW = (
    Planted(CNN, "dscores /= len(y)", "dscores /= 2 * len(y)", "dscores"),
    Planted(CNN, "dz2 = pool_backward(dpooled, cache3) * (z2 > 0)", "dz2 = pool_backward(dpooled, cache3)", "dz2"),
    Planted(CNN, "dz1 = da1 * (z1 > 0)", "dz1 = da1", "dz1"),
    Planted(CNN, "dz1 = da1 * (z1 > 0)", "dz1 = 2 * da1 * (z1 > 0)", "dz1"),
    Planted(CNN, "+= cols[:, :, i, j]", "= cols[:, :, i, j]", "da1"),
    Planted(BLOCK, 'dh = gelu_backward(dx3 @ p["W2"].T, h)', 'dh = dx3 @ p["W2"].T', "dh"),
    Planted(BLOCK, "dx2 = dx3 + dn2", "dx2 = dx3", "dx2"),
    Planted(BLOCK, "dx = dx2 + dn1", "dx = dn1", "dx"),
    Planted(BLOCK, "else att * (datt - (datt * att).sum(axis=-1, keepdims=True))", "else att * datt", "dscores"),
    Planted(BLOCK, "dscores /= np.sqrt(D // HEADS)", "pass", "dk"),
    Planted(NORM, "return dout * (x > 0)", "return dout", "dn1"),
    Planted(NORM, "- np.sum(dxhat, axis=0) - xhat", "- xhat", "dz1"),
    Planted(NORM, "/ (N * std)", "/ std", "dz1"),
    Planted(LSTM, "dC[t - 1] += dC[t] * f", "pass", "dC"),
    Planted(
        LSTM, "dHout[t - 1] += dIFOG[t].dot(self.W.T)[:, -d:]", "dHout[t - 1] = dIFOG[t].dot(self.W.T)[:, -d:]", "dHout"
    ),
    Planted(LSTM, "dHout[t - 1] += dIFOG[t].dot(self.W.T)[:, -d:]", "pass", "dHout"),
    Planted(LSTM, "dC[t] * g * i * (1 - i)", "dC[t] * g * i", "dIFOG"),
    Planted(LSTM, "dHout[t] * o * (1 - self.Ct[t] ** 2)", "dHout[t] * o", "dC"),
)
MORE = (
    Planted(CNN, "dscores /= len(y)", "dscores /= -len(y)", "dscores"),
    Planted(CNN, "dscores /= len(y)", "dscores /= dscores.size", "dscores"),
    Planted(CNN, "dscores[np.arange(len(y)), y] -= 1", "dscores[np.arange(len(y)), y] -= 2", "dscores"),
    Planted(CNN, "dscores[np.arange(len(y)), y] -= 1", "dscores[0, y[0]] -= 1", "dscores"),
    Planted(CNN, "dscores[np.arange(len(y)), y] -= 1", "dscores[np.arange(len(y)), y] += 1", "dscores"),
    Planted(CNN, "dscores = probs.copy()", "dscores = probs * (1 - probs)", "dscores"),
    Planted(CNN, 'dpooled = dscores.dot(params["W3"].T)', 'dpooled = 2 * dscores.dot(params["W3"].T)', "dpooled"),
    Planted(
        CNN, "dz2 = pool_backward(dpooled, cache3) * (z2 > 0)", "dz2 = pool_backward(dpooled, cache3) * (z2 < 0)", "dz2"
    ),
    Planted(CNN, "dz2 = pool_backward(dpooled, cache3) * (z2 > 0)", "dz2 = pool_backward(dpooled, cache3) * z2", "dz2"),
    Planted(
        CNN,
        "dz2 = pool_backward(dpooled, cache3) * (z2 > 0)",
        "dz2 = -pool_backward(dpooled, cache3) * (z2 > 0)",
        "dz2",
    ),
    Planted(
        CNN,
        "mask = window == np.max(window, axis=(2, 3), keepdims=True)",
        "mask = window != np.max(window, axis=(2, 3), keepdims=True)",
        "dz2",
    ),
    Planted(
        CNN, "mask = window == np.max(window, axis=(2, 3), keepdims=True)", "mask = np.full(window.shape, 0.25)", "dz2"
    ),
    Planted(CNN, "2 * j : 2 * j + 2] += mask", "2 * j : 2 * j + 2] -= mask", "dz2"),
    Planted(CNN, "dz1 = da1 * (z1 > 0)", "dz1 = da1 * z1", "dz1"),
    Planted(CNN, "dz1 = da1 * (z1 > 0)", "dz1 = da1 * np.sign(z1)", "dz1"),
    Planted(
        CNN,
        "dx = col2im(dout.dot(W.reshape(F, -1)), shape, k, mistake)",
        "dx = col2im(dout.dot(W[:, :, ::-1].reshape(F, -1)), shape, k, mistake)",
        "da1",
    ),
    Planted(CNN, ".transpose(0, 3, 4, 5, 1, 2)", ".transpose(0, 3, 5, 4, 1, 2)", "da1"),
    Planted(
        BLOCK,
        "dlogits = (probs - np.eye(VOCABULARY)[y_ids]) / (B * T)",
        "dlogits = (probs - np.eye(VOCABULARY)[y_ids]) / B",
        "dlogits",
    ),
    Planted(
        BLOCK,
        "dlogits = (probs - np.eye(VOCABULARY)[y_ids]) / (B * T)",
        "dlogits = (probs - np.eye(VOCABULARY)[x_ids]) / (B * T)",
        "dlogits",
    ),
    Planted(BLOCK, "dlogits = (probs - np.eye(VOCABULARY)[y_ids]) / (B * T)", "dlogits = probs / (B * T)", "dlogits"),
    Planted(BLOCK, 'dx3 = dlogits @ p["U"].T', 'dx3 = dlogits @ p["U"][::-1].T', "dx3"),
    Planted(BLOCK, 'dx3 = dlogits @ p["U"].T', 'dx3 = 3 * dlogits @ p["U"].T', "dx3"),
    Planted(BLOCK, 'dh = gelu_backward(dx3 @ p["W2"].T, h)', 'dh = gelu_backward(dx3 @ p["W2"].T, a)', "dh"),
    Planted(BLOCK, 'dh = gelu_backward(dx3 @ p["W2"].T, h)', 'dh = (dx3 @ p["W2"].T) * (h > 0)', "dh"),
    Planted(BLOCK, "inner = np.sqrt(2 / np.pi) * (1 + 3 * 0.044715 * x**2)", "inner = np.sqrt(2 / np.pi)", "dh"),
    Planted(BLOCK, "(0.5 * (1 + t) + 0.5 * x * (1 - t**2) * inner)", "(0.5 * (1 + t))", "dh"),
    Planted(BLOCK, "dx2 = dx3 + dn2", "dx2 = dn2", "dx2"),
    Planted(BLOCK, "dx2 = dx3 + dn2", "dx2 = dx3 - dn2", "dx2"),
    Planted(BLOCK, "dx2 = dx3 + dn2", "dx2 = 2 * dx3 + dn2", "dx2"),
    Planted(BLOCK, "dx = dx2 + dn1", "dx = dx2", "dx"),
    Planted(BLOCK, "dx = dx2 + dn1", "dx = 0.5 * (dx2 + dn1)", "dx"),
    Planted(BLOCK, "datt = dheads @ v.transpose(0, 1, 3, 2)", "datt = dheads @ k.transpose(0, 1, 3, 2)", "datt"),
    Planted(BLOCK, 'dheads = split_heads(dx2 @ p["Wo"].T)', 'dheads = split_heads(dx2 @ p["Wo"])', "dheads"),
    Planted(
        BLOCK,
        "else att * (datt - (datt * att).sum(axis=-1, keepdims=True))",
        "else att * (datt - datt.sum(axis=-1, keepdims=True))",
        "dscores",
    ),
    Planted(BLOCK, "dv = att.transpose(0, 1, 3, 2) @ dheads", "dv = att @ dheads", "dv"),
    Planted(NORM, "return dout * (x > 0)", "return dout * x", "dn1"),
    Planted(NORM, "return dout * (x > 0)", "return np.maximum(0, dout)", "dn1"),
    Planted(NORM, "- xhat * np.sum(dxhat * xhat, axis=0)", "- 0", "dz1"),
    Planted(NORM, "/ (N * std)", "/ (N * std**2)", "dz1"),
    Planted(NORM, "dxhat = dout * gamma", "dxhat = dout", "dz1"),
    Planted(
        NORM,
        "return dout.dot(w.T), x.T.dot(dout), dout.sum(axis=0)",
        "return 2 * dout.dot(w.T), x.T.dot(dout), dout.sum(axis=0)",
        "da1",
    ),
    Planted(NORM, "dscores[np.arange(N), y] -= 1", "dscores[np.arange(N), y] -= 0.5", "dscores"),
    Planted(NORM, "return loss, dscores / N", "return loss, dscores", "dscores"),
    Planted(NORM, "dscores = np.exp(log_probs)", "dscores = np.exp(shifted)", "dscores"),
    Planted(LSTM, "dC[t - 1] += dC[t] * f", "dC[t - 1] += dC[t] * i", "dC"),
    Planted(LSTM, "dC[t - 1] += dC[t] * f", "dC[t - 1] += dC[t]", "dC"),
    Planted(
        LSTM, "dHout[t - 1] += dIFOG[t].dot(self.W.T)[:, -d:]", "dHout[t - 1] += dIFOG[t].dot(self.W.T)[:, :d]", "dHout"
    ),
    Planted(LSTM, "dC[t] * g * i * (1 - i)", "dC[t] * f * i * (1 - i)", "dIFOG"),
    Planted(LSTM, "dC[t] * self.C[t - 1] * f * (1 - f)", "dC[t] * self.C[t] * f * (1 - f)", "dIFOG"),
    Planted(LSTM, "dHout[t] * self.Ct[t] * o * (1 - o)", "dHout[t] * self.C[t] * o * (1 - o)", "dIFOG"),
    Planted(LSTM, "dC[t] * i * (1 - g**2)", "dC[t] * i * (1 - g)", "dIFOG"),
    Planted(LSTM, "dHout[t] * o * (1 - self.Ct[t] ** 2)", "dHout[t] * o * (1 - self.C[t] ** 2)", "dC"),
    Planted(LSTM, 'dpred.dot(params["Wy"].T), mistake', '2 * dpred.dot(params["Wy"].T), mistake', "dHout_in"),
    Planted(LSTM, "- Y) / X.shape[1]", "- Y)", "dpred"),
)
