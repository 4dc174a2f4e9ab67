import numpy as np
import pytest
from operator_peer import agree, distance, gradient_of, numbers
from reference import ACTIVATIONS, mp, mpf

from gradcheck_fast.frontends.operators import activations

torch = pytest.importorskip("torch", reason="PyTorch is not installed")
F = torch.nn.functional

#: Each activation that PyTorch has, with settings of its own.
CASES = [
    ("relu", {}), ("leaky_relu", {}), ("leaky_relu", {"negative_slope": 0.2}), ("elu", {}), ("elu", {"alpha": 0.7}),
    ("celu", {}), ("selu", {}), ("gelu", {}), ("gelu", {"approximate": "tanh"}), ("silu", {}), ("sigmoid", {}),
    ("logsigmoid", {}), ("tanh", {}), ("softplus", {"threshold": 20.0}), ("softplus", {"beta": 2.0, "threshold": 1.0}),
    ("softsign", {}), ("hardtanh", {}), ("hardtanh", {"min_val": -0.3, "max_val": 2.0}), ("relu6", {}),
    ("hardswish", {}), ("hardshrink", {"lambd": 0.7}), ("softshrink", {"lambd": 0.7}), ("tanhshrink", {}),
    ("threshold", {"threshold": 0.3, "value": -2.0}), ("mish", {}),
]  # fmt: skip


@pytest.mark.parametrize(("name", "settings"), CASES, ids=str)
def test_an_activation_is_that_of_pytorch(name, settings):
    agree(
        lambda of: activations.activation(name, of["x"], **settings),
        lambda of: getattr(F, name)(of["x"], **settings),
        {"x": 3.0 * numbers(5, 6)},
    )


@pytest.mark.parametrize(("name", "settings"), CASES, ids=str)
def test_what_is_not_finite_and_zero_is_as_in_pytorch(name, settings):
    x = np.array([np.nan, np.inf, -np.inf, 0.0, -0.0])
    with np.errstate(invalid="ignore", over="ignore"):
        found = activations.activation(name, x, **settings)
    np.testing.assert_allclose(found, getattr(F, name)(torch.tensor(x), **settings).numpy(), rtol=1e-15, atol=1e-15)


@pytest.mark.parametrize("axis", [0, 1, -1])
@pytest.mark.parametrize("name", ["softmax", "log_softmax", "softmin", "glu"])
def test_an_activation_of_an_axis_is_that_of_pytorch(name, axis):
    agree(
        lambda of: activations.activation(name, of["x"], axis=axis),
        lambda of: getattr(F, name)(of["x"], axis),
        {"x": numbers(4, 2, 6)},
    )


@pytest.mark.parametrize("keepdims", [False, True])
@pytest.mark.parametrize("axis", [1, (0, 2)])
def test_logsumexp_is_that_of_pytorch(axis, keepdims):
    agree(
        lambda of: activations.logsumexp(of["x"], axis, keepdims),
        lambda of: torch.logsumexp(of["x"], axis, keepdims),
        {"x": numbers(4, 2, 6)},
    )


@pytest.mark.parametrize("channels", [1, 3])
def test_prelu_has_one_slope_or_one_for_each_channel(channels):
    agree(
        lambda of: activations.prelu(of["x"], of["w"]),
        lambda of: F.prelu(of["x"], of["w"]),
        {"x": numbers(2, 3, 4), "w": numbers(channels)},
    )


@pytest.mark.parametrize(
    ("gate", "theirs"), [("silu", F.silu), ("gelu", F.gelu), ("relu", F.relu), ("identity", lambda x: x)]
)
def test_gated_linear_units_may_have_other_gates(gate, theirs):
    def of_pytorch(of):
        first, second = of["x"].chunk(2, -1)
        return first * theirs(second)

    agree(lambda of: activations.glu(of["x"], gate=gate), of_pytorch, {"x": numbers(3, 6)})


# PyTorch computes the gradients of these two with numbers of single precision: they are compared with 60 digits
@pytest.mark.parametrize(
    ("name", "settings", "exact"),
    [
        ("celu", {"alpha": 1.3}, lambda z: max(z, mpf(0)) + min(mpf(0), mpf(1.3) * mp.expm1(z / mpf(1.3)))),
        ("hardsigmoid", {}, lambda z: ACTIVATIONS["relu6"](z + 3) / 6),
    ],
)
def test_slopes_that_pytorch_has_in_single_precision_are_right(name, settings, exact):
    x, h = 3.0 * numbers(5, 6), mpf(10) ** -20
    value = getattr(F, name)(torch.tensor(x), **settings).numpy()
    assert distance(activations.activation(name, x, **settings), value) <= 1e-15
    found = gradient_of(lambda of: np.sum(activations.activation(name, of["x"], **settings)), {"x": x})["x"]
    slopes = [(exact(mpf(z) + h) - exact(mpf(z) - h)) / (2 * h) for z in x.ravel()]
    np.testing.assert_allclose(found.ravel(), np.array(slopes, float), rtol=1e-14, atol=1e-14)


@pytest.mark.parametrize(
    ("name", "settings", "theirs"),
    [  # of ONNX, written down from its operators' definitions
        ("hardsigmoid", {"slope": 0.2}, lambda x: np.clip(0.2 * x + 0.5, 0.0, 1.0)),
        ("selu", {"alpha": 2.0, "gamma": 3.0}, lambda x: 3.0 * np.where(x > 0.0, x, 2.0 * (np.exp(x) - 1.0))),
        ("shrink", {"bias": 0.2, "lambd": 0.7},
         lambda x: np.where(x < -0.7, x + 0.2, np.where(x > 0.7, x - 0.2, 0.0))),
        ("scaled_tanh", {"alpha": 0.5, "beta": 2.0}, lambda x: 0.5 * np.tanh(2.0 * x)),
        ("quick_gelu", {}, lambda x: x / (1.0 + np.exp(-1.702 * x))),
        ("softplus", {}, lambda x: np.log1p(np.exp(x))),
        ("exponential", {}, np.exp),
    ],
)  # fmt: skip
def test_settings_of_other_libraries(name, settings, theirs):
    x = numbers(4, 5)
    np.testing.assert_allclose(activations.activation(name, x, **settings), theirs(x), rtol=1e-14, atol=1e-15)


def test_hardmax_marks_the_first_of_the_largest():
    np.testing.assert_array_equal(
        activations.hardmax(np.array([[1.0, 3.0, 3.0], [2.0, 0.0, 1.0]])), [[0, 1, 0], [1, 0, 0]]
    )


@pytest.mark.parametrize(
    "name", ["sigmoid", "softplus", "logsigmoid", "silu", "mish", "softmax", "log_softmax", "gelu"]
)
def test_large_numbers_do_not_overflow(name):
    found = activations.activation(name, np.array([-1000.0, 0.0, 1000.0]))
    assert np.isfinite(found).all()


def test_errors_name_what_was_given():
    with pytest.raises(ValueError, match=r"activation: expected one of .*, got 'swush'"):
        activations.activation("swush", np.zeros(2))
    with pytest.raises(ValueError, match="approximate: expected 'none' or 'tanh', got 'erf'"):
        activations.gelu(np.zeros(2), "erf")
    with pytest.raises(ValueError, match=r"an axis of even length, got axis 0 of the shape \(3,\)"):
        activations.glu(np.zeros(3), 0)
