"""Models that PyTorch and scikit-learn export: autograd's gradient passes, and one wrong entry is found."""

from __future__ import annotations

import warnings

import numpy as np
import pytest

import gradcheck_fast as gf

onnx = pytest.importorskip("onnx", reason="onnx is not installed")

from gradcheck_fast.frontends.onnx.model import candidates, read  # noqa: E402

PLANTED = 1e-6


def check_both(model, gradient, inputs, targets, *, limit=1e-12, by=PLANTED, **options):
    """Checks a right gradient, and one whose largest entry is wrong."""
    report = gf.onnx.gradcheck(model, gradient, inputs, targets, **options)
    assert report.ok, str(report)
    assert report.relative_error <= limit
    assert not any("differenced as a Python function" in note for note in report.notes)
    name = max(gradient, key=lambda name: np.abs(gradient[name]).max())
    wrong = {key: array.copy() for key, array in gradient.items()}
    place = np.unravel_index(np.abs(wrong[name]).argmax(), wrong[name].shape)
    wrong[name][place] *= 1 + by
    found = gf.onnx.gradcheck(model, wrong, inputs, targets, **options)
    assert [(array.name, array.wrong) for array in found.arrays if array.wrong] == [(name, 1)]
    return report


torch = pytest.importorskip("torch", reason="PyTorch is not installed")

import onnx_models  # noqa: E402

#: Those that are looked at in every run.
SOME = ("perceptron", "lenet", "residual_block", "lstm", "transformer_block", "language_model")
OTHERS = [pytest.param(name, marks=pytest.mark.long) for name in onnx_models.MODULES if name not in SOME]


@pytest.mark.parametrize("name", [*SOME, *OTHERS])
def test_a_module_that_torch_exports(name):
    module, x = onnx_models.made(name)
    gradient, classes = onnx_models.cross_entropy(module, x)
    model = onnx_models.exported(module, x)
    check_both(model, gradient, x.numpy(), classes, loss=gf.CrossEntropy())


@pytest.mark.parametrize(
    "name", ["lstm", *(pytest.param(name, marks=pytest.mark.long) for name in onnx_models.MODULES if name != "lstm")]
)
def test_a_module_that_the_newer_exporter_exports(name):
    pytest.importorskip("onnxscript", reason="onnxscript is not installed")
    module, x = onnx_models.made(name)
    gradient, classes = onnx_models.cross_entropy(module, x)
    model = onnx_models.exported(module, x, dynamo=True)
    check_both(model, gradient, x.numpy(), classes, loss=gf.CrossEntropy())


@pytest.mark.parametrize("name", ["lenet", "transformer_block"])
def test_a_module_of_float32(name):
    module, x = onnx_models.made(name, torch.float32)
    gradient, classes = onnx_models.cross_entropy(module, x)
    model = onnx_models.exported(module, x)
    check_both(model, gradient, x.numpy(), classes, loss=gf.CrossEntropy(), limit=1e-5, by=1e-3)


def test_batch_normalisation_in_training():
    module, x = onnx_models.made("residual_block")
    module.train()
    model = onnx_models.exported(module, x, training=True)
    gradient, classes = onnx_models.cross_entropy(module, x)
    check_both(model, gradient, x.numpy(), classes, loss=gf.CrossEntropy())


# ---- scikit-learn

X = np.random.default_rng(0).normal(size=(20, 4)).astype(np.float32)
CLASSES = np.random.default_rng(1).integers(0, 3, 20)


def sklearn_model(estimator, y=CLASSES, **options):
    pytest.importorskip("skl2onnx", reason="skl2onnx is not installed")
    from skl2onnx import to_onnx

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it need not converge
        estimator.fit(X, y)
    return read(to_onnx(estimator, X[:1], options=options))


def autograd(model, loss):
    """The gradient of a loss of a dict of tensors, which are the parameters of a model, by autograd in float64."""
    arrays = {name: array.astype(np.float64) for name, array in candidates(model.graph).items()}
    tensors = {name: torch.tensor(array, requires_grad=True) for name, array in arrays.items()}
    loss(tensors).backward()
    return {name: tensor.grad.numpy() for name, tensor in tensors.items() if tensor.grad is not None}


def negative_log(probabilities):
    return -torch.log(probabilities[torch.arange(20), torch.tensor(CLASSES)]).mean()


INPUT = torch.tensor(X, dtype=torch.float64)
OPTIONS = {"loss": gf.CrossEntropy(from_logits=False), "output": "probabilities", "limit": 1e-6, "by": 1e-3}


def test_a_perceptron_of_scikit_learn():
    network = pytest.importorskip("sklearn.neural_network", reason="scikit-learn is not installed")
    model = sklearn_model(network.MLPClassifier((5,), solver="lbfgs", max_iter=3, random_state=0), zipmap=False)

    def loss(p):
        hidden = torch.relu(INPUT @ p["coefficient"] + p["intercepts"])
        return negative_log(torch.softmax(hidden @ p["coefficient1"] + p["intercepts1"], 1))

    check_both(model, autograd(model, loss), X, CLASSES, **OPTIONS)


def test_a_regression_of_scikit_learn_whose_parameters_are_attributes():
    linear = pytest.importorskip("sklearn.linear_model", reason="scikit-learn is not installed")
    model = sklearn_model(linear.LogisticRegression(C=0.1), zipmap=False)

    def loss(p):
        weight, bias = p["LinearClassifier.coefficients"], p["LinearClassifier.intercepts"]
        return negative_log(torch.softmax(INPUT @ weight.reshape(3, 4).T + bias, 1))

    report = check_both(model, autograd(model, loss), X, CLASSES, **OPTIONS)
    assert [array.name for array in report.arrays] == ["LinearClassifier.coefficients", "LinearClassifier.intercepts"]


def test_a_pipeline_of_scikit_learn():
    linear = pytest.importorskip("sklearn.linear_model", reason="scikit-learn is not installed")
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    model = sklearn_model(make_pipeline(StandardScaler(), linear.LogisticRegression()), zipmap=False)

    def loss(p):
        scaled = (INPUT - p["Scaler.offset"]) * p["Scaler.scale"]
        weight, bias = p["LinearClassifier.coefficients"], p["LinearClassifier.intercepts"]
        return negative_log(torch.softmax(scaled @ weight.reshape(3, 4).T + bias, 1))

    check_both(model, autograd(model, loss), X, CLASSES, **OPTIONS)


def test_a_linear_regression_of_scikit_learn():
    linear = pytest.importorskip("sklearn.linear_model", reason="scikit-learn is not installed")
    y = X @ np.array([1.0, -2.0, 0.5, 0.25])
    model = sklearn_model(linear.Ridge(), y)
    (node,) = model.graph.node
    weight, bias = f"{node.name}.coefficients", f"{node.name}.intercepts"
    target = torch.tensor(y + 0.5, dtype=torch.float64)
    loss = lambda p: ((INPUT @ p[weight] + p[bias] - target) ** 2).mean()
    options = {**OPTIONS, "loss": gf.SquaredError(), "output": None}
    check_both(model, autograd(model, loss), X, y + 0.5, **options)


# ---- Keras


def test_recurrences_of_keras(tmp_path, monkeypatch):
    """Keras exports what it does on PyTorch; the kernels keep their values, and so have the gradients of its own."""
    monkeypatch.setenv("KERAS_BACKEND", "torch")  # both are read at its first import
    monkeypatch.setenv("KERAS_HOME", str(tmp_path))
    keras = pytest.importorskip("keras", reason="Keras is not installed")
    if keras.backend.backend() != "torch":
        pytest.skip("Keras does not run on PyTorch")
    keras.utils.set_random_seed(0)
    layers = keras.layers
    parts = [layers.GRU(4, return_sequences=True), layers.LSTM(4), layers.Dense(5, "silu"), layers.Dense(3)]
    model, x = keras.Sequential([keras.Input((5, 3)), *parts]), X[:, :3].reshape(4, 5, 3)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.nn.functional.cross_entropy(model(x), torch.tensor(CLASSES[:4])).backward()
        model.export(tmp_path / "model.onnx", format="onnx", verbose=False)
    found = read(tmp_path / "model.onnx")
    gradient = {
        name: weight.value.grad.numpy()
        for name, array in candidates(found.graph).items()
        for weight in model.trainable_weights
        if array.ndim > 1 and np.array_equal(array, weight.value.detach().numpy())
    }
    assert len(gradient) == 6
    options = {"loss": gf.CrossEntropy(), "parameters": list(gradient), "limit": 1e-5, "by": 1e-3}
    check_both(found, gradient, x, CLASSES[:4], **options)
