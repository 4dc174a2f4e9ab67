"""check_training_step: the gradient in an update of the parameters in place."""

from __future__ import annotations

from copy import deepcopy

import numpy as np
import pytest

import gradcheck_fast as gf

rng = np.random.default_rng(5)
X, Y = rng.standard_normal((7, 3)), rng.standard_normal((7, 2))


class Network:
    """Two layers, whose `train` makes one step of gradient descent."""

    def __init__(self, wrong="", dtype=np.float64):
        random = np.random.default_rng(1)
        self.W1, self.b1 = random.standard_normal((3, 4)).astype(dtype), np.zeros((1, 4), dtype)
        self.W2, self.b2 = random.standard_normal((4, 2)).astype(dtype), np.zeros((1, 2), dtype)
        self.wrong, self.velocity = wrong, 0.0

    def forward(self, X):
        self.a1 = np.tanh(X @ self.W1 + self.b1)
        return self.a1 @ self.W2 + self.b2

    def loss(self, X=X, Y=Y):
        return 0.5 * np.mean((self.forward(X) - Y) ** 2)

    def train(self, lr, X=X, Y=Y):
        self.move(lr, *self.gradients(X, Y))

    def gradients(self, X, Y):
        dz2 = (self.forward(X) - Y) / Y.size
        da1 = dz2 @ self.W2.T
        dz1 = da1 if self.wrong == "tanh" else da1 * (1.0 - self.a1**2)
        return X.T @ dz1, dz1.sum(axis=0, keepdims=True), self.a1.T @ dz2, dz2.sum(axis=0)

    def move(self, lr, dW1, db1, dW2, db2):
        self.W1 -= lr * dW1
        self.b1 = self.b1 - lr * db1
        self.W2 -= lr * dW2
        self.b2[...] -= lr * db2


def check(network, own=None, **options):
    return gf.check_training_step(own or network.train, network.loss, network, **options)


def test_a_right_step_passes():
    report = check(Network())
    assert report.ok, str(report)
    assert [array.name for array in report.arrays] == ["W1", "b1", "W2", "b2"]
    assert report.method == "chain"
    assert report.relative_error < 1e-15
    assert report.notes[0].startswith("the gradient of W1, b1, W2, b2 is (before - after) / ")


def test_a_mistake_fails_and_its_cause_is_named():
    report = check(Network("tanh"))
    assert [array.name for array in report.arrays if array.wrong] == ["W1", "b1"]
    assert "the derivative of tanh is left out" in report.diagnoses[0].cause


@pytest.mark.parametrize("rate", [1e-4, 0.01, 1.0])
@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_a_fixed_learning_rate_has_roundings_which_are_no_errors(rate, dtype):
    network, wrong = Network(dtype=dtype), Network("tanh", dtype)
    report = check(network, lambda: network.train(rate), learning_rate=rate)
    assert report.wrong == 0
    assert report.ok or dtype is np.float32, str(report)
    assert not check(wrong, lambda: wrong.train(rate), learning_rate=rate)


def test_tiny_gradients_are_found_to_all_digits():
    network = Network()
    report = gf.check_training_step(lambda lr: network.train(1e-12 * lr), lambda: 1e-12 * network.loss(), network)
    assert report.ok
    assert report.relative_error < 1e-12


def test_the_network_is_left_as_it_was():
    network = Network()
    before, objects = deepcopy(vars(network)), dict(vars(network))
    check(network)
    np.testing.assert_equal(vars(network), before)
    assert all(vars(network)[name] is value for name, value in objects.items())


def test_parameters_in_a_dict_that_is_updated():
    params = {"w": np.array([1.0, -2.0]), "b": 0.5}
    loss = lambda: np.mean((X[:, :2] @ params["w"] + params["b"] - Y[:, 0]) ** 2)

    def step(lr):
        d = 2 * (X[:, :2] @ params["w"] + params["b"] - Y[:, 0]) / len(X)
        params["w"] = params["w"] - lr * X[:, :2].T @ d
        params["b"] -= lr * d.sum()

    report = gf.check_training_step(step, loss, params)
    assert report.ok, str(report)
    assert [array.name for array in report.arrays] == ["w", "b"]
    assert params["b"] == 0.5


def test_options_of_gradcheck():
    assert check(Network(), trace=False).method == "direct"
    assert check(Network(), method="directional", seed=4).coverage
    assert check(Network(), step=1e-5, rtol=1e-4).step == 1e-5
    with pytest.raises(TypeError, match="check_training_step: it has no option 'tol'"):
        check(Network(), tol=1)


# ---- what is no step of plain gradient descent


class Momentum(Network):
    def move(self, lr, dW1, db1, dW2, db2):
        self.velocity = 0.9 * self.velocity + dW1
        super().move(lr, self.velocity, db1, dW2, db2)


def test_momentum_is_noted():
    report = check(Momentum())
    assert report.ok
    assert "another update of W1: it depends on what is kept from step to step" in " ".join(report.notes)
    assert not any("another update" in note for note in check(Network()).notes)


def test_a_velocity_that_is_large_and_filled_in_place_is_left_as_it_was():
    x, y = rng.standard_normal((2, 400)), rng.standard_normal((2, 300))
    net = {"W": np.full((400, 300), 0.01), "v": np.zeros((400, 300))}

    def step(rate):
        net["v"] *= 0.9
        net["v"] += 2 * x.T @ (x @ net["W"] - y) / y.size
        net["W"] -= rate * net["v"]

    report = gf.check_training_step(step, lambda: np.mean((x @ net["W"] - y) ** 2), net)
    assert report.ok, str(report)
    assert not net["v"].any()
    assert (net["W"] == 0.01).all()


def test_parameters_may_be_views_of_one_vector():
    class Flat:
        def __init__(self):
            self.theta = rng.standard_normal(8)
            self.w, self.b, self.factor = self.theta[:6].reshape(3, 2), self.theta[6:], 1.0

        def loss(self):
            return np.sum((X @ self.w + self.b) ** 2)

        def train(self, rate):
            r = 2 * (X @ self.w + self.b)
            self.theta -= rate * np.concatenate([self.factor * (X.T @ r).ravel(), r.sum(axis=0)])

    net = Flat()
    theta = net.theta.copy()
    report = gf.check_training_step(net.train, net.loss, net)
    assert report.ok, str(report)
    assert [array.name for array in report.arrays] == ["w", "b"]
    np.testing.assert_array_equal(net.theta, theta)
    net.factor = 1.01
    report = gf.check_training_step(net.train, net.loss, net)
    assert [array.name for array in report.arrays if array.wrong] == ["w"]


class PartOfTheData(Network):
    def train(self, lr):
        some = np.random.permutation(len(X))[:4]  # noqa: NPY002
        super().train(lr, X[some], Y[some])


class Dropout(Network):
    def forward(self, X):
        return super().forward(X * (np.random.random_sample(X.shape) < 0.7))  # noqa: NPY002

    def gradients(self, X, Y):
        state = np.random.get_state()  # noqa: NPY002
        mask = np.random.random_sample(X.shape) < 0.7  # noqa: NPY002
        np.random.set_state(state)  # noqa: NPY002
        dW1, *others = super().gradients(X, Y)
        return dW1 * 0 + (X * mask).T @ self.back(X, Y, mask), *others

    def back(self, X, Y, mask):
        return (Network.forward(self, X * mask) - Y) / Y.size @ self.W2.T * (1.0 - self.a1**2)


def test_random_numbers_must_be_those_of_the_loss():
    with pytest.raises(ValueError, match=r"step: it draws random numbers.*let it take all that the loss takes"):
        check(PartOfTheData())
    report = check(Dropout())
    assert report.ok, str(report)


class UsesTheUpdated(Network):
    """W1's gradient goes through W2 that has been updated."""

    def train(self, lr):
        dz2 = (self.forward(X) - Y) / Y.size
        self.W2 -= lr * self.a1.T @ dz2
        self.W1 -= lr * X.T @ (dz2 @ self.W2.T * (1.0 - self.a1**2))


class Adam(Network):
    def move(self, lr, *gradients):
        super().move(lr, *(g / (np.abs(g) + 1e-8) for g in gradients))


class BySample(Network):
    def train(self, lr):
        for k in range(len(X)):
            super().train(lr, X[k : k + 1], Y[k : k + 1])


class Frozen(Network):
    def move(self, lr, dW1, db1, dW2, db2):
        super().move(lr, dW1, db1, dW2, 0.0)


def test_what_the_step_does_not_change_is_not_checked_and_that_is_said():
    report = check(Frozen())
    assert report.ok
    assert [array.name for array in report.arrays] == ["W1", "b1", "W2"]
    assert "the step does not change b2, which is not checked" in report.notes


def test_errors_say_what_to_do():
    network = Network()
    with pytest.raises(ValueError, match=r"entries of its update have the same size, 1 at .*Adam"):
        check(Adam())
    with pytest.raises(ValueError, match=r"W1 at learning rate 2 is not twice .* one for each sample"):
        check(BySample())
    with pytest.raises(ValueError, match=r"W1 at learning rate 2 is not twice .* has already updated"):
        check(UsesTheUpdated())
    with pytest.raises(ValueError, match=r"learning_rate: step\(\) takes none"):
        check(network, lambda: network.train(0.1))
    with pytest.raises(ValueError, match=r"the loss depends on W1, b1, W2, b2. Give the object"):
        check(network, lambda lr: None)
    with pytest.raises(ValueError, match="the loss depends on no array that it holds"):
        gf.check_training_step(network.train, network.loss, Network())
    with pytest.raises(TypeError, match="loss: expected a function without arguments"):
        gf.check_training_step(network.train, lambda params: 0.0, network)
    with pytest.raises(TypeError, match="step: expected a function, got 1"):
        gf.check_training_step(1, network.loss, network)
    with pytest.raises(ZeroDivisionError):
        check(network, lambda lr: 1 / 0)


class Linear:
    """A model that is updated by a step, and that data stand before, of more objects than are looked at."""

    def __init__(self):
        rng = np.random.default_rng(3)
        self.x, self.y = rng.standard_normal((5, 3)), rng.standard_normal(5)
        self.w = rng.standard_normal(3)

    def loss(self):
        return np.sum((self.x @ self.w - self.y) ** 2)

    def train(self, data, rate):
        assert len(data) > 10_000
        self.w -= rate * 2 * self.x.T @ (self.x @ self.w - self.y)


def test_parameters_are_put_back_however_many_data_the_step_reaches():
    data = [(np.zeros(1), np.zeros(1)) for _ in range(12_000)]
    model = Linear()
    before, array = model.w.copy(), model.w
    step = lambda rate, data=data, model=model: model.train(data, rate)
    assert gf.check_training_step(step, lambda data=data, model=model: model.loss(), model).ok
    assert model.w is array
    np.testing.assert_array_equal(model.w, before)
