"""A small convolutional network in NumPy: two convolutions by im2col, ReLU, max pooling, a dense layer, softmax.

Its back-propagation is written by hand. The windows of a convolution overlap, so on the way back their gradients have
to be added up; the planted mistake writes them over each other.
"""

import numpy as np

import gradcheck_fast as gf

rng = np.random.default_rng(0)
X = rng.normal(size=(4, 1, 8, 8))
y = np.array([0, 2, 1, 2])


def im2col(x, k):
    N, C, H, W = x.shape
    out_h, out_w = H - k + 1, W - k + 1
    cols = np.zeros((N, C, k, k, out_h, out_w))
    for i in range(k):
        for j in range(k):
            cols[:, :, i, j] = x[:, :, i : i + out_h, j : j + out_w]
    return cols.transpose(0, 4, 5, 1, 2, 3).reshape(N * out_h * out_w, -1)


def col2im(cols, shape, k, mistake=False):
    N, C, H, W = shape
    out_h, out_w = H - k + 1, W - k + 1
    cols = cols.reshape(N, out_h, out_w, C, k, k).transpose(0, 3, 4, 5, 1, 2)
    x = np.zeros(shape)
    for i in range(k):
        for j in range(k):
            if mistake:
                x[:, :, i : i + out_h, j : j + out_w] = cols[:, :, i, j]
            else:
                x[:, :, i : i + out_h, j : j + out_w] += cols[:, :, i, j]
    return x


def conv_forward(x, W, b):
    N, _, H, width = x.shape
    F, _, k, _ = W.shape
    cols = im2col(x, k)
    out = cols.dot(W.reshape(F, -1).T) + b
    out = out.reshape(N, H - k + 1, width - k + 1, F).transpose(0, 3, 1, 2)
    return out, (x.shape, cols, W)


def conv_backward(dout, cache, mistake=False):
    shape, cols, W = cache
    F, _, k, _ = W.shape
    dout = dout.transpose(0, 2, 3, 1).reshape(-1, F)
    dW = dout.T.dot(cols).reshape(W.shape)
    dx = col2im(dout.dot(W.reshape(F, -1)), shape, k, mistake)
    return dx, dW, dout.sum(axis=0)


def pool_forward(x):
    N, C, H, W = x.shape
    out = np.zeros((N, C, H // 2, W // 2))
    for i in range(H // 2):
        for j in range(W // 2):
            out[:, :, i, j] = np.max(x[:, :, 2 * i : 2 * i + 2, 2 * j : 2 * j + 2], axis=(2, 3))
    return out, x


def pool_backward(dout, x):
    dx = np.zeros_like(x)
    for i in range(dout.shape[2]):
        for j in range(dout.shape[3]):
            window = x[:, :, 2 * i : 2 * i + 2, 2 * j : 2 * j + 2]
            mask = window == np.max(window, axis=(2, 3), keepdims=True)
            dx[:, :, 2 * i : 2 * i + 2, 2 * j : 2 * j + 2] += mask * dout[:, :, i, j][:, :, None, None]
    return dx


def forward(params):
    z1, cache1 = conv_forward(X, params["W1"], params["b1"])
    a1 = np.maximum(0, z1)
    z2, cache2 = conv_forward(a1, params["W2"], params["b2"])
    a2 = z2.copy()
    a2[a2 < 0] = 0
    pooled, cache3 = pool_forward(a2)
    flat = pooled.reshape(len(X), -1)
    scores = flat.dot(params["W3"]) + params["b3"]
    scores -= np.max(scores, axis=1, keepdims=True)
    probs = np.exp(scores) / np.sum(np.exp(scores), axis=1, keepdims=True)
    return probs, (z1, cache1, z2, cache2, cache3, pooled.shape, flat)


def loss(params):
    probs, _ = forward(params)
    return -np.mean(np.log(probs[np.arange(len(y)), y]))


def backprop(params, mistake=False):
    probs, (z1, cache1, z2, cache2, cache3, pooled_shape, flat) = forward(params)
    grads = {}
    dscores = probs.copy()
    dscores[np.arange(len(y)), y] -= 1
    dscores /= len(y)
    grads["W3"] = flat.T.dot(dscores)
    grads["b3"] = dscores.sum(axis=0)
    dpooled = dscores.dot(params["W3"].T).reshape(pooled_shape)
    dz2 = pool_backward(dpooled, cache3) * (z2 > 0)
    da1, grads["W2"], grads["b2"] = conv_backward(dz2, cache2, mistake)
    dz1 = da1 * (z1 > 0)
    _, grads["W1"], grads["b1"] = conv_backward(dz1, cache1)
    return grads


def init_params(seed=1):
    rng = np.random.default_rng(seed)
    return {
        "W1": rng.normal(size=(2, 1, 3, 3)) * 0.5, "b1": rng.normal(size=2) * 0.1,
        "W2": rng.normal(size=(3, 2, 3, 3)) * 0.3, "b2": rng.normal(size=3) * 0.1,
        "W3": rng.normal(size=(12, 3)) * 0.5, "b3": np.zeros(3),
    }  # fmt: skip


def main():
    params = init_params()
    right = gf.gradcheck(loss, backprop, params)
    print(right)
    print("\nNow with a mistake planted: overlapping windows are written over each other.\n")
    wrong = gf.gradcheck(loss, lambda p: backprop(p, mistake=True), params)
    print(wrong)
    return right, wrong


if __name__ == "__main__":
    main()
