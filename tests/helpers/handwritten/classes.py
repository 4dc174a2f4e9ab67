"""Networks as classes, closures, generators and recursive functions."""
# ruff: noqa: B905, RUF007

import functools
from dataclasses import dataclass, field

import numpy as np

from handwritten.entry import Handwritten, by_torch, constant, drawn

ENTRIES = []


def entry(name, loss, params, reference):
    ENTRIES.append(Handwritten(name, loss, params, by_torch(reference)))


draw = drawn(9)

# ---- a class that feeds one sample at a time forward, with lists of biases and weights


class Network:
    def __init__(self, sizes):
        self.num_layers = len(sizes)
        self.sizes = sizes
        self.biases = [np.zeros((y, 1)) for y in sizes[1:]]
        self.weights = [np.zeros((y, x)) for x, y in zip(sizes[:-1], sizes[1:])]

    def feedforward(self, a):
        for b, w in zip(self.biases, self.weights):
            a = sigmoid(np.dot(w, a) + b)
        return a

    def total_cost(self, data, lmbda):
        cost = 0.0
        for x, y in data:
            a = self.feedforward(x)
            cost += np.sum(np.nan_to_num(-y * np.log(a) - (1 - y) * np.log(1 - a))) / len(data)
        cost += 0.5 * (lmbda / len(data)) * sum(np.linalg.norm(w) ** 2 for w in self.weights)
        return cost


def sigmoid(z):
    return 1.0 / (1.0 + np.exp(-z))


digits = [(draw(4, 1), np.eye(3)[k][:, None]) for k in (0, 2, 1)]
network = Network([4, 5, 3])


def nielsen(params):
    network.biases = params["biases"]
    network.weights = params["weights"]
    return network.total_cost(digits, 0.3)


def nielsen_torch(torch, p):
    x = constant(torch, np.hstack([x for x, _ in digits]))
    y = constant(torch, np.hstack([y for _, y in digits]))
    (b1, b2), (w1, w2) = p["biases"], p["weights"]
    z = w2 @ torch.sigmoid(w1 @ x + b1) + b2
    data = torch.nn.functional.binary_cross_entropy_with_logits(z, y, reduction="sum") / 3
    return data + 0.05 * ((w1**2).sum() + (w2**2).sum())


entry("class_by_samples", nielsen,
      {"biases": [draw(5, 1), draw(3, 1)], "weights": [draw(5, 4), draw(3, 5)]}, nielsen_torch)  # fmt: skip


# ---- layers with caches, in a list; batch norm keeps running averages that training does not read


class Layer:
    def __call__(self, x):
        self.x = x
        return self.forward(x)

    def forward(self, x):
        raise NotImplementedError


class Dense(Layer):
    def __init__(self, W, b):
        self.W, self.b = W, b

    def forward(self, x):
        return x.dot(self.W) + self.b


class ReLU(Layer):
    def forward(self, x):
        self.mask = x > 0
        return x * self.mask


class BatchNorm(Layer):
    running = {}  # noqa: RUF012

    def __init__(self, gamma, beta, eps=1e-5, momentum=0.9):
        self.gamma, self.beta, self.eps, self.momentum = gamma, beta, eps, momentum

    def forward(self, x):
        self.mu = x.mean(axis=0)
        self.xc = x - self.mu
        self.var = np.mean(self.xc**2, axis=0)
        self.std = np.sqrt(self.var + self.eps)
        self.xn = self.xc / self.std
        old = self.running.get("mean", np.zeros(x.shape[1]))
        self.running["mean"] = self.momentum * old + (1 - self.momentum) * self.mu
        return self.gamma * self.xn + self.beta


class Sequential:
    def __init__(self, *layers):
        self.layers = layers

    def predict(self, x):
        for layer in self.layers:
            x = layer(x)
        return x


class SoftmaxCrossEntropy:
    def __call__(self, scores, labels):
        shifted = scores - scores.max(axis=1, keepdims=True)
        self.probs = np.exp(shifted) / np.exp(shifted).sum(axis=1, keepdims=True)
        return -np.log(self.probs[np.arange(len(labels)), labels]).mean()


x_bn = draw(8, 3)
y_bn = np.array([0, 1, 1, 2, 0, 2, 2, 1])


def batchnorm_net(p):
    model = Sequential(Dense(p["W1"], p["b1"]), BatchNorm(p["gamma"], p["beta"]), ReLU(), Dense(p["W2"], p["b2"]))
    return SoftmaxCrossEntropy()(model.predict(x_bn), y_bn)


def batchnorm_torch(torch, p):
    F = torch.nn.functional
    x, y = constant(torch, x_bn, y_bn)
    h = F.batch_norm(x @ p["W1"] + p["b1"], None, None, p["gamma"], p["beta"], training=True, eps=1e-5)
    return F.cross_entropy(torch.relu(h) @ p["W2"] + p["b2"], y)


entry("layer_objects_batchnorm", batchnorm_net,
      {"W1": draw(3, 5), "b1": draw(5), "gamma": 1 + 0.3 * draw(5), "beta": draw(5), "W2": draw(5, 3), "b2": draw(3)},
      batchnorm_torch)  # fmt: skip


# ---- a dataclass with settings, setters of a flat vector, inheritance


@dataclass
class Base:
    n_in: int = 2
    n_hidden: int = 3
    l2: float = 1e-2
    history: list = field(default_factory=list)

    @property
    def size(self):
        return self.n_in * self.n_hidden + self.n_hidden + self.n_hidden + 1

    def set_params(self, theta):
        start = 0
        for name, shape in self.shapes().items():
            n = int(np.prod(shape))
            setattr(self, name, theta[start : start + n].reshape(shape))
            start += n

    def shapes(self):
        return {"W": (self.n_in, self.n_hidden), "b": (self.n_hidden,), "v": (self.n_hidden, 1), "c": ()}

    def activation(self, z):
        raise NotImplementedError

    def cost(self, X, y):
        out = self.activation(X @ self.W + self.b) @ self.v + self.c
        J = 0.5 * np.sum((y - out) ** 2) / X.shape[0] + (self.l2 / 2) * (np.sum(self.W**2) + np.sum(self.v**2))
        self.history.append(J)
        return J


@dataclass
class SoftsignNet(Base):
    def activation(self, z):
        return z / (1 + np.abs(z))


xor_X = np.array([[0, 0], [0, 1], [1, 0], [1, 1]], dtype=float)
xor_y = np.array([[0.0], [1.0], [1.0], [0.0]])
model = SoftsignNet()


def softsign_net(theta):
    assert theta.size == model.size
    model.set_params(theta)
    cost = model.cost(xor_X, xor_y)
    model.history[-1] = f"{cost:.4f}"
    return cost


def softsign_torch(torch, theta):
    x, y = constant(torch, xor_X, xor_y)
    W, b, v, c = theta[:6].reshape(2, 3), theta[6:9], theta[9:12, None], theta[12]
    out = torch.nn.functional.softsign(x @ W + b) @ v + c
    return ((y - out) ** 2).sum() / 8 + 0.005 * ((W**2).sum() + (v**2).sum())


entry("dataclass_flat_vector", softsign_net, draw(13), softsign_torch)


# ---- closures and a fold

x_cl = draw(5, 3)


def dense(W, b, act=np.tanh):
    def apply(x):
        return act(x @ W + b)

    return apply


def compose(*functions):
    return functools.reduce(lambda f, g: lambda x: g(f(x)), functions)


def closures(params):
    layers = [dense(*p) for p in params[:-1]]
    net = compose(*layers, dense(*params[-1], act=lambda z: np.sin(z)))
    return np.mean(net(x_cl) ** 2)


def closures_torch(torch, params):
    x = constant(torch, x_cl)
    for W, b in params[:-1]:
        x = torch.tanh(x @ W + b)
    return (torch.sin(x @ params[-1][0] + params[-1][1]) ** 2).mean()


entry("closures", closures, [(draw(3, 4), draw(4)), (draw(4, 3), draw(3)), (draw(3, 2), draw(2))], closures_torch)


# ---- a decorator that counts and checks, a generator of batches

calls = {"forward": 0}


def checked(function):
    @functools.wraps(function)
    def wrapper(*args, **kwargs):
        calls[function.__name__] += 1
        result = function(*args, **kwargs)
        if np.isnan(result).any():
            raise FloatingPointError(function.__name__)
        return result

    return wrapper


def batches(X, y, size):
    for start in range(0, len(X), size):
        yield X[start : start + size], y[start : start + size]


@checked
def forward(X, w):
    return np.exp(X @ w)


X_poisson, y_counts = draw(7, 3, scale=0.5), np.array([0, 2, 1, 1, 3, 0, 1])


def poisson_batches(w):
    losses = []
    for xb, yb in batches(X_poisson, y_counts, 3):
        rate = forward(xb, w["w"])
        losses.append(np.sum(rate - yb * np.log(rate)))
    return np.sum(losses) / len(y_counts)


def poisson_torch(torch, w):
    x, y = constant(torch, X_poisson, y_counts)
    return torch.nn.functional.poisson_nll_loss(x @ w["w"], y)


entry("decorator_and_batches", poisson_batches, {"w": draw(3)}, poisson_torch)


# ---- a recursive network over a tree of words

tree = ((0, 1), (2, (3, 0)))


def encode(node, p):
    if isinstance(node, int):
        return p["words"][node]
    left, right = (encode(child, p) for child in node)
    both = np.hstack([left, right])
    tensor = np.array([both @ V @ both for V in p["V"]])
    return np.tanh(tensor + both @ p["W"] + p["b"])


def recursive_tensor_network(p):
    root = encode(tree, p)
    scores = p["Ws"] @ root
    return -scores[1] + np.log(np.exp(scores).sum())


def recursive_torch(torch, p):
    def walk(node):
        if isinstance(node, int):
            return p["words"][node]
        both = torch.cat([walk(child) for child in node])
        return torch.tanh(torch.einsum("i,kij,j->k", both, p["V"], both) + both @ p["W"] + p["b"])

    return -torch.log_softmax(p["Ws"] @ walk(tree), 0)[1]


entry("recursive_tensor_network", recursive_tensor_network,
      {"words": draw(4, 2), "V": draw(2, 4, 4, scale=0.3), "W": draw(4, 2, scale=0.5), "b": draw(2),
       "Ws": draw(3, 2)}, recursive_torch)  # fmt: skip


# ---- a neural ODE: the classic steps of fourth order, and Euler's for a comparison

start, finish = draw(4, 2), draw(4, 2)


class ODEFunc:
    def __init__(self, params):
        self.__dict__.update(params)

    def __call__(self, t, y):
        h = np.tanh(np.concatenate([y, np.full((len(y), 1), t)], axis=1) @ self.W1)
        return h @ self.W2


def rk4(f, y, t0, t1, n):
    h = (t1 - t0) / n
    for k in range(n):
        t = t0 + k * h
        k1 = f(t, y)
        k2 = f(t + h / 2, y + h / 2 * k1)
        k3 = f(t + h / 2, y + h / 2 * k2)
        k4 = f(t + h, y + h * k3)
        y = y + h / 6 * (k1 + 2 * k2 + 2 * k3 + k4)
    return y


def neural_ode(params):
    f = ODEFunc(params)
    end = rk4(f, start, 0.0, 1.0, 3)
    y = start.copy()
    for k in range(4):
        y += 0.25 * f(0.25 * k, y)
    return np.mean((end - finish) ** 2) + 0.1 * np.mean((end - y) ** 2)


def neural_ode_torch(torch, p):
    y0, goal = constant(torch, start, finish)
    f = lambda t, y: torch.tanh(y @ p["W1"][:2] + t * p["W1"][2]) @ p["W2"]
    y = rk4(f, y0, 0.0, 1.0, 3)
    e = y0
    for k in range(4):
        e = e + 0.25 * f(0.25 * k, e)
    return ((y - goal) ** 2).mean() + 0.1 * ((y - e) ** 2).mean()


entry("neural_ode", neural_ode, {"W1": draw(3, 4), "W2": draw(4, 2)}, neural_ode_torch)
