"""Against gradients that others computed: PyTorch's autograd, scikit-learn's back-propagation, the tutorials."""

from __future__ import annotations

import inspect
from itertools import pairwise

import numpy as np
import pytest
from networks import ACTIVATIONS, COSTS, REDUCTIONS, Case, array_names, distance, make, random_network

import gradcheck_fast as gf

# ---- PyTorch


def torch_activation(torch, name, z):
    functional = torch.nn.functional
    return {
        "identity": lambda: z,
        "sigmoid": lambda: torch.sigmoid(z),
        "tanh": lambda: torch.tanh(z),
        "relu": lambda: functional.relu(z),
        "leaky_relu": lambda: functional.leaky_relu(z, 0.01),
        "elu": lambda: functional.elu(z),
        "selu": lambda: functional.selu(z),
        "softplus": lambda: functional.softplus(z),
        "softsign": lambda: functional.softsign(z),
        "silu": lambda: functional.silu(z),
        "gelu": lambda: functional.gelu(z),
        "gelu_tanh": lambda: functional.gelu(z, approximate="tanh"),
        "hardtanh": lambda: functional.hardtanh(z),
        "relu6": lambda: functional.relu6(z),
        "exp": lambda: torch.exp(z),
        "softmax": lambda: torch.softmax(z, dim=1),
    }[name]()


def torch_cost(torch, cost, x, y):
    """PyTorch's own loss functions wherever it has one; "batchmean" is its "sum" over N."""
    functional = torch.nn.functional
    samples = x.shape[0]
    by_class = y.ndim == 1
    if not by_class:
        y = torch.from_numpy(y.reshape(x.shape)).to(x.dtype)
    own = {"reduction": "mean" if cost.reduction == "mean" else "sum"}
    if isinstance(cost, gf.SquaredError):
        value = cost.factor * functional.mse_loss(x, y, **own)
    elif isinstance(cost, gf.AbsoluteError):
        value = functional.l1_loss(x, y, **own)
    elif isinstance(cost, gf.Huber):
        value = functional.huber_loss(x, y, delta=cost.delta, **own)
    elif isinstance(cost, gf.BinaryCrossEntropy):
        loss = functional.binary_cross_entropy_with_logits if cost.from_logits else functional.binary_cross_entropy
        value = loss(x, y, **own)
    elif cost.from_logits:
        value = functional.cross_entropy(x, torch.from_numpy(y) if by_class else y, **own)
    elif by_class:
        value = functional.nll_loss(torch.log(x), torch.from_numpy(y), **own)
    else:
        value = -(y * torch.log(x)).sum() / (samples if cost.reduction == "mean" else 1)
    return value / samples if cost.reduction == "batchmean" else value


def torch_loss_and_gradient(torch, case: Case):
    params = {name: torch.from_numpy(array).requires_grad_() for name, array in case.params.items()}
    a = torch.from_numpy(case.X)
    for layer, (weights, biases) in zip(case.net.layers, array_names(case.net), strict=True):
        a = a @ params[weights]
        a = torch_activation(torch, layer.activation, a + params[biases] if biases else a)
    loss = torch_cost(torch, case.net.cost, a, case.y)
    if case.net.penalty is not None:
        for name, array in params.items():
            if name.startswith("W") or case.net.penalty.biases:
                loss = loss + 0.5 * case.net.penalty.strength * (array**2).sum()
    loss.backward()
    return loss.item(), {name: array.grad.numpy() for name, array in params.items()}


@pytest.fixture(scope="module")
def torch():
    module = pytest.importorskip("torch", reason="PyTorch is not installed")
    before = module.get_num_threads()
    module.set_num_threads(1)
    yield module
    module.set_num_threads(before)


def assert_agrees_with_torch(torch, case: Case):
    loss, gradient = torch_loss_and_gradient(torch, case)
    assert case.loss(case.params) == pytest.approx(loss, rel=1e-14)
    assert gf.relative_error(gradient, gf.numerical_gradient(case.loss, case.params)) <= 1e-13
    assert gf.relative_error(gradient, gf.numerical_gradient(case.loss, case.params, method="direct")) <= 1e-8
    assert gf.gradcheck(case.loss, gradient, case.params)


@pytest.mark.parametrize("cost", COSTS)
@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_torch_every_activation_with_every_cost(torch, activation, cost):
    """1 to 4 layers and the reductions take turns, so that each meets every activation and every cost."""
    turn = ACTIVATIONS.index(activation) + list(COSTS).index(cost)
    rng = np.random.default_rng([turn, len(activation)])
    depth = 1 + turn % 4
    widths = rng.integers(2, 9, depth + 1).tolist()
    scale = 0.3 if activation == "exp" else 0.6  # towers of exp: the plain arithmetic of "direct" truncates
    case = make(rng, widths, [activation] * depth, cost, REDUCTIONS[turn % 3], scale=scale, samples=6)
    assert_agrees_with_torch(torch, case)


@pytest.mark.parametrize("reduction", REDUCTIONS)
@pytest.mark.parametrize("cost", COSTS)
def test_torch_every_cost_with_every_reduction(torch, cost, reduction):
    rng = np.random.default_rng(3)
    assert_agrees_with_torch(torch, make(rng, [4, 5, 3], ["tanh", "sigmoid"], cost, reduction))


@pytest.mark.parametrize("biases", [False, True], ids=["weights", "weights-and-biases"])
@pytest.mark.parametrize("depth", [1, 2, 3, 4])
def test_torch_with_penalty(torch, depth, biases):
    rng = np.random.default_rng(depth)
    penalty = gf.L2(0.3, biases=biases)
    assert_agrees_with_torch(torch, make(rng, [6] * (depth + 1), ["softplus"] * depth, "class_logits", penalty=penalty))


def test_torch_wide_network_with_many_samples(torch):
    """Several panels of columns, several blocks of rows, several chunks of samples."""
    rng = np.random.default_rng(0)
    case = make(rng, [50, 70, 33, 10], ["relu", "tanh", "identity"], "class_logits", samples=1500)
    loss, gradient = torch_loss_and_gradient(torch, case)
    assert case.loss(case.params) == pytest.approx(loss, rel=1e-14)
    assert gf.relative_error(gradient, gf.numerical_gradient(case.loss, case.params)) <= 1e-13


@pytest.mark.long
def test_torch_chain_of_200_random_networks(torch):
    """1 to 6 layers. No input is 0: on a kink PyTorch takes the slope of one side, and a chain that of both."""
    found = []
    for seed in range(200):
        rng = np.random.default_rng([200, seed])
        case = random_network(rng, deepest=6)
        case = case._replace(X=rng.normal(size=case.X.shape))
        _, gradient = torch_loss_and_gradient(torch, case)
        chained = gf.numerical_gradient(case.loss, case.params, method="chain")
        found.append((distance(chained, gradient), seed, repr(case.net)))
    assert max(found)[0] <= 1e-14, f"the worst: {max(found)}"


# ---- scikit-learn: its digits, its own back-propagation


@pytest.fixture(scope="module")
def digits():
    datasets = pytest.importorskip("sklearn.datasets", reason="scikit-learn is not installed")
    X, y = datasets.load_digits(return_X_y=True)
    return X / 16.0, y


def sklearn_gradient(model, X, y):
    """The gradient that an initialised MLP model finds at its coefs_ and intercepts_, by its own back-propagation."""
    units = [X.shape[1], *model.hidden_layer_sizes, model.n_outputs_]
    activations = [X, *(np.empty((len(X), width)) for width in units[1:])]
    deltas = [np.empty_like(a) for a in activations[1:]]
    weights = [np.empty(shape) for shape in pairwise(units)]
    biases = [np.empty(width) for width in units[1:]]
    newer = {"sample_weight": None} if "sample_weight" in inspect.signature(model._backprop).parameters else {}
    model._backprop(
        X=X, y=y, activations=activations, deltas=deltas, coef_grads=weights, intercept_grads=biases, **newer
    )
    return named(weights, biases)


def as_our_network(model, samples, cost):
    hidden = {"logistic": "sigmoid"}.get(model.activation, model.activation)
    layers = [gf.Dense(*W.shape, hidden) for W in model.coefs_[:-1]] + [gf.Dense(*model.coefs_[-1].shape)]
    net = gf.Network(layers, cost=cost, penalty=gf.L2(model.alpha / samples))
    return net, named(model.coefs_, model.intercepts_)


def named(weights, biases):
    return {f"W{k}": W for k, W in enumerate(weights, 1)} | {f"b{k}": b for k, b in enumerate(biases, 1)}


@pytest.mark.parametrize("activation", ["logistic", "tanh", "relu", "identity"])
def test_sklearn_classifier(digits, activation):
    X, y = digits
    network = pytest.importorskip("sklearn.neural_network", reason="scikit-learn is not installed")
    model = network.MLPClassifier(hidden_layer_sizes=(12, 9), activation=activation, alpha=0.7, random_state=0)
    model.partial_fit(X, y, classes=np.arange(10))
    net, params = as_our_network(model, len(X), gf.CrossEntropy())
    gradient = sklearn_gradient(model, X, np.eye(10)[y])
    numerical = gf.numerical_gradient(net.loss(X, y), params)
    assert gf.relative_error(gradient, numerical) <= 1e-13
    assert gf.gradcheck(net.loss(X, y), gradient, params)


def test_sklearn_binary_classifier(digits):
    X, y = digits
    network = pytest.importorskip("sklearn.neural_network", reason="scikit-learn is not installed")
    X, y = X[y < 2], y[y < 2]
    model = network.MLPClassifier(hidden_layer_sizes=(15,), alpha=0.2, random_state=1).partial_fit(X, y, classes=[0, 1])
    net, params = as_our_network(model, len(X), gf.BinaryCrossEntropy(reduction="batchmean"))
    gradient = sklearn_gradient(model, X, y[:, np.newaxis])
    numerical = gf.numerical_gradient(net.loss(X, y), params)
    assert gf.relative_error(gradient, numerical) <= 1e-13


@pytest.mark.parametrize("outputs", [1, 3])
def test_sklearn_regressor(digits, outputs):
    """Its gradient is that of ½ Σ (y − ŷ)² / N, for any number of outputs."""
    X, _ = digits
    network = pytest.importorskip("sklearn.neural_network", reason="scikit-learn is not installed")
    y = X[:, 20 : 20 + outputs] @ np.eye(outputs)
    model = network.MLPRegressor(hidden_layer_sizes=(10, 8), activation="tanh", alpha=0.1, random_state=2)
    model.partial_fit(X, y if outputs > 1 else y[:, 0])
    net, params = as_our_network(model, len(X), gf.SquaredError(factor=0.5, reduction="batchmean"))
    gradient = sklearn_gradient(model, X, y)
    numerical = gf.numerical_gradient(net.loss(X, y), params)
    assert gf.relative_error(gradient, numerical) <= 1e-13


# ---- the tutorials


def test_tutorial_square_at_one_and_a_half():
    assert gf.numerical_gradient(lambda x: x**2, 1.5, step=1e-4) == 2.9999999999996696


X = np.array([[3, 5], [5, 1], [10, 2]]) / [10.0, 5.0]  # hours asleep and studied, over the largest of each
Y = np.array([[75], [82], [93]]) / 100.0


class NeuralNetwork:
    """Tutorial 2: 2-3-1, sigmoid, no biases, J = ½ Σ (y − ŷ)², parameters unrolled into one vector."""

    def __init__(self, rng):
        self.W1, self.W2 = rng.normal(size=(2, 3)), rng.normal(size=(3, 1))

    def sigmoid(self, z):
        return 1 / (1 + np.exp(-z))

    def forward(self, X):
        self.z2 = X @ self.W1
        self.a2 = self.sigmoid(self.z2)
        self.z3 = self.a2 @ self.W2
        return self.sigmoid(self.z3)

    def sigmoid_prime(self, z):
        return np.exp(-z) / (1 + np.exp(-z)) ** 2

    def cost_function(self, X, y):
        return 0.5 * np.sum((y - self.forward(X)) ** 2)

    def compute_gradients(self, X, y):
        delta3 = -(y - self.forward(X)) * self.sigmoid_prime(self.z3)
        delta2 = delta3 @ self.W2.T * self.sigmoid_prime(self.z2)
        return np.concatenate(((X.T @ delta2).ravel(), (self.a2.T @ delta3).ravel()))

    def get_params(self):
        return np.concatenate((self.W1.ravel(), self.W2.ravel()))

    def set_params(self, params):
        self.W1, self.W2 = params[:6].reshape(2, 3), params[6:].reshape(3, 1)


@pytest.mark.parametrize("seed", range(10))
def test_tutorial_two(seed):
    tutorial = NeuralNetwork(np.random.default_rng(seed))
    layers = [gf.Dense(2, 3, "sigmoid", bias=False), gf.Dense(3, 1, "sigmoid", bias=False)]
    loss = gf.Network(layers, cost=gf.SquaredError(factor=0.5, reduction="sum")).loss(X, Y)
    theta = tutorial.get_params()
    assert loss(theta) == pytest.approx(tutorial.cost_function(X, Y), rel=1e-14)
    gradient = tutorial.compute_gradients(X, Y)
    for method in ("units", "incremental", "chain"):
        assert gf.relative_error(gradient, gf.numerical_gradient(loss, theta, method=method)) <= 5e-15
    assert gf.gradcheck(loss, gradient, theta)


@pytest.mark.parametrize("seed", range(10))
def test_tutorial_two_as_a_python_class(seed):
    """The tutorial's own loop with its step of 1e-4: about 1e-8 or less, as the tutorial says."""
    tutorial = NeuralNetwork(np.random.default_rng(seed))

    def loss(theta):
        tutorial.set_params(theta)
        return tutorial.cost_function(X, Y)

    theta, gradient = tutorial.get_params(), tutorial.compute_gradients(X, Y)
    by_the_book = np.empty(9)
    for k in range(9):
        e = np.zeros(9)
        e[k] = 1e-4
        by_the_book[k] = (loss(theta + e) - loss(theta - e)) / (2 * 1e-4)
    np.testing.assert_array_equal(gf.numerical_gradient(loss, theta, step=1e-4), by_the_book)
    report = gf.gradcheck(loss, gradient, theta, step=1e-4)
    assert report
    assert report.relative_error < 1e-8
