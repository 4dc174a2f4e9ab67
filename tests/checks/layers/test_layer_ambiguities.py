"""check_layer: what could be taken for something else is taken for what it is, or named."""

from __future__ import annotations

import numpy as np
import pytest

import gradcheck_fast as gf

rng = np.random.default_rng(3)
draw = lambda *shape: rng.standard_normal(shape)
X = draw(5, 3)


class Affine:
    """The layer that the others differ from."""

    def __init__(self, W=None, b=None):
        self.W, self.b = draw(3, 4) if W is None else W, draw(4) if b is None else b

    def forward(self, x):
        self.x = x
        return x @ self.W + self.b

    def backward(self, dout):
        self.dW, self.db = self.x.T @ dout, dout.sum(axis=0)
        return dout @ self.W.T


def wrong(report):
    return [array.name for array in report.arrays if array.status == "wrong"]


def names(report):
    return [array.name for array in report.arrays]


# ---- which array is the gradient


class TwoNames(Affine):
    """dW is left from elsewhere; the backward pass finds grad_W."""

    def __init__(self, factor=1.0):
        super().__init__()
        self.dW, self.db, self.factor = np.ones((3, 4)), np.ones(4), factor

    def backward(self, dout):
        self.grad_W, self.grad_b = self.factor * self.x.T @ dout, dout.sum(axis=0)
        return dout @ self.W.T


def test_an_array_that_backward_changes_goes_before_one_that_it_leaves():
    report = gf.check_layer(TwoNames(), X)
    assert report.ok, str(report)
    assert "grad_W is taken for the gradient of W, grad_b for that of b" in report.notes
    assert wrong(gf.check_layer(TwoNames(1.01), X)) == ["W"]


def test_a_gradient_that_is_never_set_is_wrong_and_that_is_said():
    class Forgets(Affine):
        def backward(self, dout):
            return dout @ self.W.T

    layer = Forgets()
    layer.forward(X)
    Affine.backward(layer, np.ones((5, 4)))
    report = gf.check_layer(layer, X)
    assert wrong(report) == ["W", "b"]
    assert "backward does not change dW, db" in report.notes


class Tied:
    """Encoder and decoder have one array of weights, and each leaves its own part of the gradient."""

    class Part:
        def __init__(self, W, is_decoder):
            self.W, self.is_decoder = W, is_decoder

        def forward(self, x):
            self.x = x
            return x @ (self.W.T if self.is_decoder else self.W)

        def backward(self, dout):
            self.dW = dout.T @ self.x if self.is_decoder else self.x.T @ dout
            return dout @ (self.W if self.is_decoder else self.W.T)

    def __init__(self, has_sum=False, factor=1.0):
        W = draw(3, 4)
        self.encoder, self.decoder = self.Part(W, False), self.Part(W, True)
        self.factor, self.has_sum = factor, has_sum
        if has_sum:
            self.W = W

    def forward(self, x):
        self.h = np.tanh(self.encoder.forward(x))
        return self.decoder.forward(self.h)

    def backward(self, dout):
        dx = self.encoder.backward(self.decoder.backward(dout) * (1 - self.h**2))
        self.decoder.dW *= self.factor
        if self.has_sum:
            self.dW = self.encoder.dW + self.decoder.dW
        return dx


def test_one_array_at_two_places_has_two_gradients_or_their_sum():
    report = gf.check_layer(Tied(), X)
    assert report.ok, str(report)
    assert names(report) == ["x", "encoder.W", "decoder.W"]
    assert any("encoder.W and decoder.W are one array" in note for note in report.notes)
    assert wrong(gf.check_layer(Tied(factor=2.0), X)) == ["decoder.W"]
    assert wrong(gf.check_layer(Tied(), X, gradients={"W": "encoder.dW"})) == ["W"]
    report = gf.check_layer(Tied(has_sum=True), X)
    assert report.ok, str(report)
    assert names(report) == ["x", "W"]
    assert wrong(gf.check_layer(Tied(has_sum=True, factor=2.0), X)) == ["W"]


def test_a_list_of_gradients_that_is_not_kept_up_to_date_is_passed_over():
    layer = Affine()
    layer.dW, layer.db = np.zeros((3, 4)), np.zeros(4)
    layer.params, layer.grads = [layer.W, layer.b], [layer.dW, layer.db]
    assert gf.check_layer(layer, X).ok


def test_arrays_of_a_users_own_class_are_parameters():
    class Parameter(np.ndarray):
        pass

    assert names(gf.check_layer(Affine(draw(3, 4).view(Parameter)), X)) == ["x", "W", "b"]


def test_a_number_named_as_a_parameter_is_said_to_have_no_gradient():
    class NoBias(Affine):
        def backward(self, dout):
            self.dW = self.x.T @ dout
            return dout @ self.W.T

    assert "there is no gradient of b: it is taken as fixed" in gf.check_layer(NoBias(b=0.5), X).notes


# ---- what backward returns


class Returns(Affine):
    def __init__(self, change):
        super().__init__()
        self.change = change

    def backward(self, dout):
        return self.change(super().backward(dout), self.dW, self.db)


def test_gradients_may_be_left_and_returned():
    assert gf.check_layer(Returns(lambda dx, dW, db: (dx, dW, db)), X).ok
    assert gf.check_layer(Returns(lambda dx, dW, db: {"W": dW, "b": db}), X).ok
    report = gf.check_layer(Returns(lambda dx, dW, db: (dx, 2 * dW, db)), X)
    assert any("backward returns another gradient of W than it leaves in dW" in note for note in report.notes)


def test_shapes_that_fit_in_several_orders_are_an_error():
    class Square:
        def __init__(self):
            self.W, self.b = draw(4, 4), draw(4)

        def forward(self, x):
            self.x = x
            return x @ self.W + self.b

        def backward(self, dout):
            return self.x.T @ dout, dout.sum(axis=0), dout @ self.W.T

    with pytest.raises(ValueError, match="gradients of x, W, b in 2 orders; give inputs of which all lengths differ"):
        gf.check_layer(Square(), draw(4, 4))
    assert gf.check_layer(Square(), draw(5, 4)).ok


def test_what_is_returned_for_no_array_is_noted_and_a_wrong_name_is_an_error():
    report = gf.check_layer(Returns(lambda dx, dW, db: dx), np.arange(15).reshape(5, 3))
    assert any("what backward returns is not checked" in note for note in report.notes)

    def forward(x, gamma, beta):
        return gamma * x + beta, (x, gamma)

    def backward(dout, cache):
        x, gamma = cache
        return {"dx": dout * gamma, "dgamma": (dout * x).sum(axis=0), "dbias": dout.sum(axis=0)}

    with pytest.raises(ValueError, match=r"'dbias', which it returns, .* there is none of beta; let it be called 'dbe"):
        gf.check_layer(forward, backward, (X, draw(3), draw(3)))


def test_lists_of_numbers_are_arrays():
    class Neuron:
        def __init__(self):
            self.w, self.b = [0.1, 0.2, 0.3], 0.5

        def forward(self, x):
            self.x = x
            return sum(w * xi for w, xi in zip(self.w, x, strict=True)) + self.b

        def backward(self, dout):
            self.dw, self.db = [dout * xi for xi in self.x], dout
            return [float(dout * w) for w in self.w]

    report = gf.check_layer(Neuron(), draw(3))
    assert report.ok, str(report)
    assert names(report) == ["x", "w[0]", "w[1]", "w[2]", "b"]
    with pytest.raises(ValueError, match=r"make arrays of lists and integers, as np\.array\(x, float\)"):
        gf.check_layer(Neuron(), [1.0, 2.0, 3.0])


# ---- losses


class SquaredError:
    def __init__(self, sign=1.0):
        self.sign = sign

    def forward(self, y_true, y_pred):
        self.difference = y_pred - y_true
        return np.mean(self.difference**2)

    def backward(self):
        return self.sign * 2 * self.difference / self.difference.size


class LeavesIt(SquaredError):
    def backward(self):
        self.dinputs = super().backward()


@pytest.mark.parametrize("loss", [SquaredError, LeavesIt])
def test_the_gradient_of_a_loss_is_not_that_of_its_targets(loss):
    report = gf.check_layer(loss(), (draw(4, 3), draw(4, 3)))
    assert report.ok, str(report)
    assert names(report) == ["y_pred"]
    assert wrong(gf.check_layer(loss(sign=-1.0), (draw(4, 3), draw(4, 3)))) == ["y_pred"]


@pytest.mark.parametrize("place", [0, 1])
def test_a_loss_may_be_given_beside_probabilities(place):
    class CrossEntropy:
        def forward(self, scores, labels):
            e = np.exp(scores - scores.max(axis=1, keepdims=True))
            self.p, self.labels = e / e.sum(axis=1, keepdims=True), labels
            loss = -np.mean(np.log(self.p[range(len(labels)), labels]))
            return (loss, self.p) if place == 0 else (self.p, loss)

        def backward(self):
            found = self.p.copy()
            found[range(len(self.labels)), self.labels] -= 1
            return found / len(self.labels)

    report = gf.check_layer(CrossEntropy(), (X, np.array([0, 2, 1, 1, 0])))
    assert report.ok, str(report)
    assert f"of what forward gives, only {place} is the output, as a loss" in report.notes


class Network(Affine):
    """Its backward pass takes the targets, and not a gradient of the output."""

    def forward(self, x):
        self.out = super().forward(x)
        return self.out

    def backward(self, y):
        return super().backward((self.out - y) / len(y))


class WithMore(Network):
    def backward(self, x, y, output):
        self.x = x
        return Affine.backward(self, (output - y) / len(y))


@pytest.mark.parametrize("network", [Network, WithMore])
def test_targets_are_no_gradient_of_the_output(network):
    with pytest.raises(ValueError, match=r"argument 'y' is zero, so that is a target.*gf\.gradcheck"):
        gf.check_layer(network(), X)


def test_what_is_added_to_a_gradient_is_noted():
    class Decays(Affine):
        def backward(self, dout):
            dx = super().backward(dout)
            self.dW += 0.1 * self.W
            return dx

    report = gf.check_layer(Decays(), X)
    assert wrong(report) == ["W"]
    assert any(
        "finds gradients of W where its argument for the gradient of the output is zero" in n for n in report.notes
    )


# ---- what backward takes


@pytest.mark.parametrize(
    "forward, backward, said",
    [
        (lambda x: np.tanh(x), lambda dy, y: dy * (1 - y**2), "backward is given the output as its y"),
        (lambda Z: np.exp(Z), lambda dA, A: dA * A, "backward is given the output as its A"),
        (lambda x: np.exp(x), lambda out, g: g * out, "backward is given the output as its out"),
        (lambda x: np.maximum(x, 0), lambda dA, z: dA * (z > 0), "backward is given the input x as its z"),
        (lambda x: (np.exp(x), x), lambda g, c: g * np.exp(c), ""),
        (lambda x: (np.maximum(x, 0), x), lambda dout, x: dout * (x > 0), "only the first 1 of 2 are outputs"),
    ],
)
def test_outputs_inputs_and_caches_are_told_apart(forward, backward, said):
    report = gf.check_layer(forward, backward, X)
    assert report.ok, str(report)
    assert said in " ".join(report.notes)


def test_several_arguments_that_are_as_many_as_the_inputs_are_these():
    report = gf.check_layer(lambda x, W: x @ W, lambda dz, a, W: (dz @ W.T, a.T @ dz), (X, draw(3, 2)))
    assert report.ok, str(report)
    assert "backward is given the input x as its a" in report.notes


# ---- calls


class Appends(Affine):
    """Its caches are a list that grows, of which a second call reads the first."""

    def __init__(self):
        super().__init__()
        self.caches = []

    def forward(self, x):
        self.caches.append(x)
        return x @ self.W + self.b

    def backward(self, dout):
        self.x = self.caches[0]
        dx = super().backward(dout)
        self.dW = self.dW * len(self.caches) ** 2
        return dx


def test_caches_that_grow_are_no_parameters_and_a_second_call_that_differs_is_noted():
    layer = Appends()
    report = gf.check_layer(layer, X)
    assert report.ok, str(report)
    assert any("a second call of forward and backward with the same data finds another gradient of W" in note
               for note in report.notes)  # fmt: skip
    assert layer.caches == []


class Lazy(Affine):
    def __init__(self, factor=1.0):
        self.W, self.b, self.factor = None, None, factor

    def forward(self, x):
        if self.W is None:
            self.W, self.b = np.random.standard_normal((x.shape[1], 4)), np.zeros(4)  # noqa: NPY002
        return super().forward(x)

    def backward(self, dout):
        return self.factor * super().backward(dout)


def test_parameters_that_the_first_call_makes_are_found():
    layer = Lazy()
    report = gf.check_layer(layer, X)
    assert report.ok
    assert names(report) == ["x", "W", "b"]
    assert layer.W is None
    assert wrong(gf.check_layer(Lazy(2.0), X)) == ["x"]


def test_a_gradient_that_is_not_finite_is_wrong():
    report = gf.check_layer(Returns(lambda dx, dW, db: dx * np.where(dx == dx[0, 0], np.nan, 1.0)), X)
    assert wrong(report) == ["x"]


@pytest.mark.parametrize("stop", [0, 1, 3, 5])
def test_an_interrupted_check_leaves_the_layer_as_it_was(stop):
    calls = iter(range(100))

    class Interrupted(Affine):
        def backward(self, dout):
            self.W += 100
            if next(calls) == stop:
                raise KeyboardInterrupt
            self.W -= 100
            return super().backward(dout)

    layer = Interrupted()
    W, entries = layer.W, layer.W.copy()
    with pytest.raises(KeyboardInterrupt):
        gf.check_layer(layer, X)
    assert layer.W is W
    np.testing.assert_array_equal(W, entries)
    assert set(vars(layer)) == {"W", "b"}
