"""Parts of ONNX models that no gradient trains, quantised ones, trees and support vectors, as onnxruntime has them."""

from __future__ import annotations

import warnings

import numpy as np
import pytest

import gradcheck_fast as gf

onnx = pytest.importorskip("onnx", reason="onnx is not installed")
onnxruntime = pytest.importorskip("onnxruntime", reason="onnxruntime is not installed")

X = np.random.default_rng(1).normal(size=(12, 4)).astype(np.float32)
WEIGHTS = "uint8[3,3] b = {10,200,30,40,150,60,70,80,90}, float sb = {0.02}, uint8 zb = {100}, "
KERNEL = "uint8[1,1,2,2] b = {10,200,30,40}, float sb = {0.02}, uint8 zb = {100}, "
SCALES = "float s = {0.05}, uint8 z = {120}, float so = {0.1}, uint8 zo = {128}"
INTO, FROM = "q = QuantizeLinear(x, s, z)", "d = DequantizeLinear(m, so, zo)"
DYNAMIC, SCALED = "q, sq, zq = DynamicQuantizeLinear(x)", "f = Cast<to = 1>(m)  d = Mul(f, sq)"
QUANTISED = {
    "QLinearMatMul": (WEIGHTS, (4, 3), f"{INTO}  m = QLinearMatMul(q, s, z, b, sb, zb, so, zo)  {FROM}"),
    "QLinearConv": (KERNEL, (1, 1, 4, 3), f"{INTO}  m = QLinearConv(q, s, z, b, sb, zb, so, zo)  {FROM}"),
    "MatMulInteger": (WEIGHTS, (4, 3), f"{DYNAMIC}  m = MatMulInteger(q, b, zq, zb)  {SCALED}"),
    "ConvInteger": (KERNEL, (1, 1, 4, 3), f"{DYNAMIC}  m = ConvInteger(q, b, zq, zb)  {SCALED}"),
    "DequantizeLinear": (WEIGHTS, (4, 3), "w = DequantizeLinear(b, sb, zb)  d = MatMul(x, w)"),
}  # fmt: skip


def outputs_of(model, names, inputs):
    """What onnxruntime computes, node by node: it would take coarser products in place of some."""
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(model.SerializeToString(), options)
    return session.run(names, inputs)[0].astype(float)


@pytest.mark.parametrize("name", QUANTISED)
def test_a_trained_factor_of_what_is_quantised(name):
    weights, shape, nodes = QUANTISED[name]
    sizes = ",".join(map(str, shape))
    model = onnx.parser.parse_model(
        f'<ir_version: 9, opset_import: ["": 21]> agraph (float[{sizes}] x) => (y, d) '
        f"<float[1] v = {{0.3}}, {weights}{SCALES}> {{ {nodes}  y = Mul(d, v) }}"
    )
    for output in model.graph.output:
        output.type.tensor_type.elem_type = onnx.TensorProto.FLOAT
    x = np.resize(X, shape)
    factor = outputs_of(model, ["d"], {"x": x})
    gradient = {"v": np.array([2.0 * np.float32(0.3) * np.sum(factor**2)])}
    options = {"loss": lambda y: np.sum(y**2), "output": "y", "parameters": ["v"]}
    report = gf.onnx.gradcheck(model, gradient, x, **options)
    assert report.ok, str(report)
    assert report.method == "chain"
    assert gf.onnx.gradcheck(model, {"v": 1.001 * gradient["v"]}, x, **options).verdict == "FAIL"


def made(estimator):
    pytest.importorskip("skl2onnx", reason="skl2onnx is not installed")
    from skl2onnx import to_onnx

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it need not converge
        estimator.fit(X, X @ np.array([1.0, -1.0, 0.5, 2.0]) + X[:, 0] ** 2)
        return to_onnx(estimator, X[:1])


def beside(name):
    """A linear model beside another one, whose outputs are averaged."""
    ensemble = pytest.importorskip("sklearn.ensemble", reason="scikit-learn is not installed")
    from sklearn.linear_model import LinearRegression
    from sklearn.svm import SVR
    from sklearn.tree import DecisionTreeRegressor

    other = {
        "tree": DecisionTreeRegressor(max_depth=3),
        "forest": ensemble.RandomForestRegressor(3, random_state=0),
        "boosting": ensemble.GradientBoostingRegressor(n_estimators=3),
        "support vectors": SVR(),
    }[name]
    return ensemble.VotingRegressor([("linear", LinearRegression()), ("other", other)])


SOME = ("tree", "support vectors")
OTHERS = [pytest.param(name, marks=pytest.mark.long) for name in ("forest", "boosting")]


@pytest.mark.parametrize("name", [*SOME, *OTHERS])
def test_a_linear_model_beside_one_that_is_constant(name):
    model = made(beside(name))
    prediction = outputs_of(model, None, {"X": X})
    slopes = prediction.ravel()  # of sum(y^2): 2 y, of which half goes to either model
    gradient = {
        "LinearRegressor.coefficients": slopes @ X.astype(float),
        "LinearRegressor.intercepts": np.array([slopes.sum()]),
    }
    options = {"loss": lambda y: np.sum(y**2), "parameters": list(gradient)}
    report = gf.onnx.gradcheck(model, gradient, X, **options)
    assert report.ok, str(report)
    assert not any("differenced by itself" in note for note in report.notes), report.notes
    gradient["LinearRegressor.coefficients"][1] *= 1.01
    assert gf.onnx.gradcheck(model, gradient, X, **options).verdict == "FAIL"


def test_support_vectors_after_a_network_are_opaque_and_named():
    ensemble = pytest.importorskip("sklearn.ensemble", reason="scikit-learn is not installed")
    from sklearn.neural_network import MLPRegressor
    from sklearn.svm import SVR

    network = MLPRegressor(hidden_layer_sizes=(3,), max_iter=20, random_state=0)
    model = made(ensemble.StackingRegressor([("network", network)], final_estimator=SVR()))
    zeros = {"coefficient": np.zeros((4, 3))}
    report = gf.onnx.gradcheck(model, zeros, X, loss=lambda y: np.sum(y**2), parameters=["coefficient"])
    assert report.verdict == "FAIL"
    assert any("onnx.SVMRegressor is differenced by itself" in note for note in report.notes)
