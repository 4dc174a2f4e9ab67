"""Networks of the benchmarks, written by hand in NumPy as their users write them, with the same pass in PyTorch."""

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view


def one_hot(labels, classes):
    return np.eye(classes)[labels]


class LeNet:
    """LeNet-5 on 28 x 28 pixels: 44,426 parameters."""

    name = "LeNet, N = 16"

    def __init__(self, samples=16, seed=0):
        random = np.random.default_rng(seed)
        self.X = random.standard_normal((samples, 1, 28, 28))
        self.y = random.integers(0, 10, samples)
        shapes = {"K1": (6, 1, 5, 5), "K2": (16, 6, 5, 5), "W3": (256, 120), "W4": (120, 84), "W5": (84, 10)}
        self.params = {}
        for name, shape in shapes.items():
            inputs = np.prod(shape[1:]) if name[0] == "K" else shape[0]
            self.params[name] = random.standard_normal(shape) / np.sqrt(inputs)
            self.params["b" + name[1]] = 0.1 * random.standard_normal(shape[0] if name[0] == "K" else shape[1])

    def loss(self, p):
        h = np.tanh(conv(self.X, p["K1"], p["b1"]))
        h = pool(h)
        h = np.tanh(conv(h, p["K2"], p["b2"]))
        h = pool(h).reshape(len(self.X), -1)
        h = np.tanh(h @ p["W3"] + p["b3"])
        h = np.tanh(h @ p["W4"] + p["b4"])
        scores = h @ p["W5"] + p["b5"]
        return cross_entropy(scores, self.y)

    def torch_pass(self):
        import torch
        import torch.nn.functional as F

        p = {name: torch.tensor(array, requires_grad=True) for name, array in self.params.items()}
        X, y = torch.tensor(self.X), torch.tensor(self.y)

        def run():
            for parameter in p.values():
                parameter.grad = None
            h = F.avg_pool2d(torch.tanh(F.conv2d(X, p["K1"], p["b1"])), 2)
            h = F.avg_pool2d(torch.tanh(F.conv2d(h, p["K2"], p["b2"])), 2).flatten(1)
            h = torch.tanh(h @ p["W3"] + p["b3"])
            h = torch.tanh(h @ p["W4"] + p["b4"])
            F.cross_entropy(h @ p["W5"] + p["b5"], y).backward()
            return {name: parameter.grad.numpy() for name, parameter in p.items()}

        return run


def conv(x, kernel, bias):
    filters, _, height, width = kernel.shape
    windows = sliding_window_view(x, (height, width), axis=(2, 3))  # N, C, H, W, height, width
    n, _, rows, columns = windows.shape[:4]
    patches = windows.transpose(0, 2, 3, 1, 4, 5).reshape(n * rows * columns, -1)
    out = patches @ kernel.reshape(filters, -1).T + bias
    return out.reshape(n, rows, columns, filters).transpose(0, 3, 1, 2)


def pool(x):
    n, channels, rows, columns = x.shape
    return x.reshape(n, channels, rows // 2, 2, columns // 2, 2).mean(axis=(3, 5))


def cross_entropy(scores, labels):
    shifted = scores - scores.max(axis=-1, keepdims=True)
    logs = shifted - np.log(np.exp(shifted).sum(axis=-1, keepdims=True))
    return -np.mean(np.take_along_axis(logs, labels[..., None], axis=-1))


class GPT:
    """Two blocks of a transformer on characters: 110,401 parameters."""

    name = "GPT, T = 32, N = 8"
    width, heads, times, vocabulary, blocks = 64, 4, 32, 65, 2

    def __init__(self, samples=8, seed=0):
        random = np.random.default_rng(seed)
        d, v, t = self.width, self.vocabulary, self.times
        self.tokens = random.integers(0, v, (samples, t))
        self.targets = random.integers(0, v, (samples, t))
        self.params = {"E": 0.3 * random.standard_normal((v, d)), "P": 0.1 * random.standard_normal((t, d))}
        shapes = {"Wqkv": (d, 3 * d), "bqkv": (3 * d,), "Wo": (d, d), "bo": (d,), "W1": (d, 4 * d), "b1": (4 * d,),
                  "W2": (4 * d, d), "b2": (d,)}  # fmt: skip
        for k in range(self.blocks):
            for name, shape in shapes.items():
                self.params[f"{name}_{k}"] = random.standard_normal(shape) / np.sqrt(
                    shape[0] if len(shape) > 1 else 100
                )
            for norm in ("1", "2"):
                self.params[f"g{norm}_{k}"] = 1.0 + 0.1 * random.standard_normal(d)
                self.params[f"s{norm}_{k}"] = 0.1 * random.standard_normal(d)
        self.params["Wout"] = random.standard_normal((d, v)) / np.sqrt(d)
        self.params["bout"] = 0.1 * random.standard_normal(v)

    def loss(self, p):
        n, t = self.tokens.shape
        size = self.width // self.heads
        mask = np.triu(np.full((t, t), -1e10), 1)
        x = p["E"][self.tokens] + p["P"][:t]
        for k in range(self.blocks):
            h = layer_norm(x, p[f"g1_{k}"], p[f"s1_{k}"])
            qkv = h @ p[f"Wqkv_{k}"] + p[f"bqkv_{k}"]
            q, key, value = (
                part.reshape(n, t, self.heads, size).transpose(0, 2, 1, 3) for part in np.split(qkv, 3, axis=-1)
            )
            weights = softmax(q @ key.transpose(0, 1, 3, 2) / np.sqrt(size) + mask)
            mixed = (weights @ value).transpose(0, 2, 1, 3).reshape(n, t, self.width)
            x = x + mixed @ p[f"Wo_{k}"] + p[f"bo_{k}"]
            h = layer_norm(x, p[f"g2_{k}"], p[f"s2_{k}"])
            x = x + gelu(h @ p[f"W1_{k}"] + p[f"b1_{k}"]) @ p[f"W2_{k}"] + p[f"b2_{k}"]
        return cross_entropy(x @ p["Wout"] + p["bout"], self.targets)

    def torch_pass(self):
        import torch
        import torch.nn.functional as F

        p = {name: torch.tensor(array, requires_grad=True) for name, array in self.params.items()}
        tokens, targets = torch.tensor(self.tokens), torch.tensor(self.targets)
        n, t = self.tokens.shape
        size = self.width // self.heads
        mask = torch.triu(torch.full((t, t), -1e10, dtype=torch.float64), 1)

        def run():
            for parameter in p.values():
                parameter.grad = None
            x = p["E"][tokens] + p["P"][:t]
            for k in range(self.blocks):
                h = F.layer_norm(x, (self.width,), p[f"g1_{k}"], p[f"s1_{k}"])
                qkv = h @ p[f"Wqkv_{k}"] + p[f"bqkv_{k}"]
                q, key, value = (part.reshape(n, t, self.heads, size).transpose(1, 2) for part in qkv.chunk(3, -1))
                weights = torch.softmax(q @ key.transpose(2, 3) / size**0.5 + mask, -1)
                mixed = (weights @ value).transpose(1, 2).reshape(n, t, self.width)
                x = x + mixed @ p[f"Wo_{k}"] + p[f"bo_{k}"]
                h = F.layer_norm(x, (self.width,), p[f"g2_{k}"], p[f"s2_{k}"])
                h = F.gelu(h @ p[f"W1_{k}"] + p[f"b1_{k}"], approximate="tanh")
                x = x + h @ p[f"W2_{k}"] + p[f"b2_{k}"]
            scores = x @ p["Wout"] + p["bout"]
            F.cross_entropy(scores.reshape(-1, self.vocabulary), targets.reshape(-1)).backward()
            return {name: parameter.grad.numpy() for name, parameter in p.items()}

        return run


def layer_norm(x, gain, shift, eps=1e-5):
    mean = x.mean(axis=-1, keepdims=True)
    variance = x.var(axis=-1, keepdims=True)
    return gain * (x - mean) / np.sqrt(variance + eps) + shift


def softmax(x):
    e = np.exp(x - x.max(axis=-1, keepdims=True))
    return e / e.sum(axis=-1, keepdims=True)


def gelu(x):
    return 0.5 * x * (1.0 + np.tanh(np.sqrt(2.0 / np.pi) * (x + 0.044715 * x**3)))


class Tutorial:
    """The network of the tutorials: 2-3-1, nine parameters."""

    name = "2-3-1"

    def __init__(self, seed=0):
        random = np.random.default_rng(seed)
        self.X, self.y = random.random((3, 2)), random.random((3, 1))
        self.params = {"W1": random.standard_normal((2, 3)), "W2": random.standard_normal((3, 1))}

    def loss(self, p):
        hidden = 1.0 / (1.0 + np.exp(-self.X @ p["W1"]))
        out = 1.0 / (1.0 + np.exp(-hidden @ p["W2"]))
        return 0.5 * np.sum((self.y - out) ** 2)

    def torch_pass(self):
        import torch

        p = {name: torch.tensor(array, requires_grad=True) for name, array in self.params.items()}
        X, y = torch.tensor(self.X), torch.tensor(self.y)

        def run():
            for parameter in p.values():
                parameter.grad = None
            out = torch.sigmoid(torch.sigmoid(X @ p["W1"]) @ p["W2"])
            (0.5 * ((y - out) ** 2).sum()).backward()
            return {name: parameter.grad.numpy() for name, parameter in p.items()}

        return run
