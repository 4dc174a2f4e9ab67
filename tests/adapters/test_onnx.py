"""gf.onnx: gradients from any code against an exported model."""

from __future__ import annotations

import numpy as np
import pytest

import gradcheck_fast as gf

onnx = pytest.importorskip("onnx", reason="onnx is not installed")

from onnx import numpy_helper, parser  # noqa: E402

RNG = np.random.default_rng(0)
X, Y = RNG.normal(size=(6, 3)), np.array([0, 1, 1, 0, 1, 0])
PARAMS = {
    "W1": RNG.normal(size=(3, 4)), "b1": RNG.normal(size=4), "W2": RNG.normal(size=(4, 2)), "b2": RNG.normal(size=2)
}  # fmt: skip
GRAPH = """
<ir_version: 10, opset_import: ["" : %d]>
agraph (double[N, 3] x%s) => (%s) {
  z1 = Gemm(x, W1, b1)
  a1 = Tanh(z1)
  logits = Gemm(a1, W2, b2)
  %s
}
"""


def build(text, arrays, dtype=np.float64):
    proto = parser.parse_model(text.replace("double", "float" if dtype == np.float32 else "double"))
    for name, array in arrays.items():
        proto.graph.initializer.append(numpy_helper.from_array(np.asarray(array, dtype), name))
    return proto


def perceptron(dtype=np.float64, opset=18):
    return build(GRAPH % (opset, "", "double[N, 2] logits", ""), PARAMS, dtype)


def with_loss():
    return build(
        GRAPH % (18, ", int64[N] y", "double loss", 'loss, logs = SoftmaxCrossEntropyLoss(logits, y)'), PARAMS
    )  # fmt: skip


def back_propagated(p, factor=1.0):
    a1 = np.tanh(X @ p["W1"] + p["b1"])
    z = a1 @ p["W2"] + p["b2"]
    e = np.exp(z - z.max(axis=1, keepdims=True))
    d2 = (e / e.sum(axis=1, keepdims=True) - np.eye(2)[Y]) / len(X) * factor
    d1 = (d2 @ p["W2"].T) * (1 - a1**2)
    return {"W1": X.T @ d1, "b1": d1.sum(axis=0), "W2": a1.T @ d2, "b2": d2.sum(axis=0)}


GRADIENT = back_propagated(PARAMS)


def wrong_in_one_entry(by=1e-6):
    gradient = {name: array.copy() for name, array in GRADIENT.items()}
    gradient["W1"][1, 2] *= 1 + by
    return gradient


def check(gradient=GRADIENT, model=None, loss=None, **options):
    model = perceptron() if model is None else model
    return gf.onnx.gradcheck(model, gradient, X, Y, loss=loss or gf.CrossEntropy(), **options)


def test_a_right_gradient_passes_to_the_last_digits():
    report = check()
    assert report.ok, str(report)
    assert report.relative_error < 1e-14
    assert [array.name for array in report.arrays] == ["W1", "b1", "W2", "b2"]
    assert report.certificate is not None


def test_one_entry_that_is_wrong_by_1e_6_is_found():
    report = check(wrong_in_one_entry())
    assert not report.ok
    assert [(array.name, array.wrong) for array in report.arrays if array.wrong] == [("W1", 1)]


def test_the_cause_is_named_with_the_node():
    """Without the slope of tanh, W1 and b1 are wrong."""
    p = PARAMS
    d2 = np.linalg.lstsq(np.tanh(X @ p["W1"] + p["b1"]).T, GRADIENT["W2"], rcond=None)[0]
    assert d2.shape == (6, 2)
    z = np.tanh(X @ p["W1"] + p["b1"]) @ p["W2"] + p["b2"]
    e = np.exp(z - z.max(axis=1, keepdims=True))
    d1 = ((e / e.sum(axis=1, keepdims=True) - np.eye(2)[Y]) / len(X)) @ p["W2"].T
    report = check({**GRADIENT, "W1": X.T @ d1, "b1": d1.sum(axis=0)})
    assert "node 1, Tanh" in str(report)


@pytest.mark.parametrize("form", ["path", "bytes", "proto"])
def test_the_model_as_a_file_bytes_or_a_proto(form, tmp_path):
    proto, path = perceptron(), tmp_path / "model.onnx"
    onnx.save(proto, path)
    assert check(model={"path": path, "bytes": proto.SerializeToString(), "proto": proto}[form]).ok


def test_the_gradient_as_a_file_of_arrays(tmp_path):
    np.savez(tmp_path / "gradient.npz", **GRADIENT)
    assert check(tmp_path / "gradient.npz").ok
    np.savez(tmp_path / "wrong.npz", **wrong_in_one_entry())
    assert not check(str(tmp_path / "wrong.npz")).ok


def test_the_gradient_as_a_function_of_the_initialisers():
    assert check(back_propagated).ok
    assert not check(lambda p: back_propagated(p, factor=0.5)).ok


def test_names_with_a_prefix():
    assert check({f"d{name}": array for name, array in GRADIENT.items()}).ok


def test_a_loss_that_the_model_computes():
    report = gf.onnx.gradcheck(with_loss(), GRADIENT, {"x": X, "y": Y}, loss="loss")
    assert report.ok, str(report)
    assert report.relative_error < 1e-14


def mean_of_logits(logits, targets):
    shifted = logits - np.max(logits, axis=1, keepdims=True)
    logs = shifted - np.log(np.sum(np.exp(shifted), axis=1, keepdims=True))
    return -np.mean(logs[np.arange(len(targets)), targets])


def test_a_loss_in_numpy():
    report = check(loss=mean_of_logits)
    assert report.ok, str(report)
    assert report.relative_error < 1e-14


def test_a_loss_of_several_outputs_gets_a_dict():
    proto = build(GRAPH % (18, "", "double[N, 2] logits, double[N, 4] a1", ""), PARAMS)
    loss = lambda outputs: np.sum(outputs["logits"] ** 2) + np.sum(outputs["a1"])
    gradient = gf.numerical_gradient(
        lambda p: loss({"a1": (a := np.tanh(X @ p["W1"] + p["b1"])), "logits": a @ p["W2"] + p["b2"]}), PARAMS
    )
    assert gf.onnx.gradcheck(proto, gradient, X, loss=loss).ok


def test_a_cost_of_a_value_inside_of_the_graph():
    target = np.zeros((6, 4))
    a1 = np.tanh(X @ PARAMS["W1"] + PARAMS["b1"])
    d1 = 2 * a1 / a1.size * (1 - a1**2)
    gradient = {"W1": X.T @ d1, "b1": d1.sum(axis=0)}
    report = gf.onnx.gradcheck(
        perceptron(), gradient, X, target, loss=gf.SquaredError(), output="a1", parameters=["W1", "b1"]
    )
    assert report.ok, str(report)
    assert any("taken as constants: W2, b2" in note for note in report.notes)


def test_a_model_and_a_gradient_of_float32():
    single = {name: array.astype(np.float32) for name, array in GRADIENT.items()}
    model = build(GRAPH % (18, "", "double[N, 2] logits", ""), PARAMS, np.float32)
    at = {tensor.name: numpy_helper.to_array(tensor).astype(float) for tensor in model.graph.initializer}
    single = {name: array.astype(np.float32) for name, array in back_propagated(at).items()}
    assert check(single, model).ok
    single["W1"][1, 2] *= 1 + 1e-4
    report = check(single, model)
    assert [(array.name, array.wrong) for array in report.arrays if array.wrong] == [("W1", 1)]


def test_the_report_says_what_the_program_is_compared_with():
    pytest.importorskip("onnxruntime", reason="onnxruntime is not installed")
    assert "compared with onnxruntime in float64" in check().notes


def test_without_onnxruntime_it_is_compared_with_the_reference(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "onnxruntime", None)
    assert "compared with onnx.reference in float64" in check().notes


def test_an_implementation_that_rounds_inside_is_not_taken():
    """The reference computes erf in float32, and onnxruntime has no erf of float64."""
    proto = build(GRAPH.replace("Tanh", "Erf") % (18, "", "double[N, 2] logits", ""), PARAMS)
    gradient = gf.numerical_gradient(lambda p: erf_loss(p), PARAMS)
    report = check(gradient, proto)
    assert report.ok, str(report)
    assert any("differenced by gradcheck_fast's own operators" in note for note in report.notes)


def erf_loss(p):
    from math import erf

    a1 = np.vectorize(erf)(X @ p["W1"] + p["b1"])
    return mean_of_logits(a1 @ p["W2"] + p["b2"], Y)


def test_where_the_reference_is_wrong_the_right_model_passes():
    """Of opset 11, softmax takes all following axes as one; onnx.reference does not."""
    text = """
    <ir_version: 10, opset_import: ["" : 11]>
    agraph (double[2, 2, 3] x) => (double[2, 2, 2] p) { z = MatMul(x, W)  p = Softmax <axis = 1> (z) }
    """
    W, x = RNG.normal(size=(3, 2)), RNG.normal(size=(2, 2, 3))
    weights = RNG.normal(size=(2, 2, 2))

    def by_hand(p):
        e = np.exp(x @ p["W"])
        return np.sum(weights * e / e.sum(axis=(1, 2), keepdims=True))

    gradient = gf.numerical_gradient(by_hand, {"W": W})
    loss = lambda p: np.sum(weights * p)
    pytest.importorskip("onnxruntime", reason="onnxruntime is not installed")
    assert gf.onnx.gradcheck(build(text, {"W": W}), gradient, x, loss=loss).ok


def test_nothing_is_said_where_all_others_compute_another_loss(monkeypatch):
    """The table is made wrong here, as it might be for an operator of the future."""
    from gradcheck_fast.frontends.onnx.registry import TABLE

    monkeypatch.setitem(TABLE, ("", "Tanh"), [(1, lambda node, x: np.tanh(x) + 0.1)])
    with pytest.raises(ValueError, match=r"they part at node 1, Tanh.*Nothing sides with the loss"):
        check()


def test_attributes_are_also_read_as_the_numbers_that_were_meant():
    """A trainer in float64 has a slope of 0.01; ONNX keeps what float32 has of it, 2e-8 less."""
    proto = build(
        GRAPH.replace("Tanh(z1)", "LeakyRelu <alpha = 0.01> (z1)") % (18, "", "double[N, 2] logits", ""), PARAMS
    )

    def loss(p, slope):
        z = X @ p["W1"] + p["b1"]
        return mean_of_logits(np.where(z > 0, z, slope * z) @ p["W2"] + p["b2"], Y)

    for slope in (0.01, float(np.float32(0.01))):
        report = check(gf.numerical_gradient(lambda p: loss(p, slope), PARAMS), proto)  # noqa: B023
        assert report.ok, str(report)
        assert report.relative_error < 1e-14
        assert any("simple numbers" in note for note in report.notes) == (slope == 0.01)
    gradient = gf.numerical_gradient(lambda p: loss(p, 0.01), PARAMS)
    gradient["W2"][0, 0] *= 1 + 1e-6
    report = check(gradient, proto)
    assert [(array.name, array.wrong) for array in report.arrays if array.wrong] == [("W2", 1)]


DROPOUT = GRAPH.replace("logits = Gemm(a1, W2, b2)", """
  ratio = Constant <value = double {0.25}> ()
  training = Constant <value = bool {1}> ()
  dropped = Dropout (a1, ratio, training)
  logits = Gemm(dropped, W2, b2)""") % (18, "", "double[N, 2] logits", "")  # fmt: skip


def test_dropout_in_training_needs_the_mask_that_was_drawn():
    proto, mask = build(DROPOUT, PARAMS), RNG.random((6, 4)) < 0.75
    with pytest.raises(ValueError, match=r"node 4, Dropout .*draws=\{'dropped': mask\}, of the shape \(6, 4\)"):
        check(model=proto)

    def loss(p):
        return mean_of_logits(np.tanh(X @ p["W1"] + p["b1"]) * mask / 0.75 @ p["W2"] + p["b2"], Y)

    report = check(gf.numerical_gradient(loss, PARAMS), proto, draws={"dropped": mask})
    assert report.ok, str(report)
    assert not check(model=proto, draws={"dropped": mask}).ok
    assert [node.op_type for node in proto.graph.node].count("Dropout") == 1, "the user's model is as it was"


def test_numbers_that_a_node_drew():
    text = GRAPH.replace("a1 = Tanh(z1)", "noise = RandomNormalLike(z1)  a1 = Add(z1, noise)")
    proto, noise = build(text % (18, "", "double[N, 2] logits", ""), PARAMS), RNG.normal(size=(6, 4))
    with pytest.raises(ValueError, match=r"node 1, RandomNormalLike .*draws="):
        check(model=proto)
    loss = lambda p: mean_of_logits((X @ p["W1"] + p["b1"] + noise) @ p["W2"] + p["b2"], Y)
    assert check(gf.numerical_gradient(loss, PARAMS), proto, draws={"noise": noise}).ok


BATCH_NORM = """
<ir_version: 10, opset_import: ["" : 18]>
agraph (double[N, 3] x) => (double[N, 3] y) { y = BatchNormalization <epsilon = 0.125> (x, scale, shift, mean, var) }
"""


def test_running_statistics_are_no_parameters_unless_there_is_a_gradient_of_them():
    arrays = {"scale": np.ones(3), "shift": np.zeros(3), "mean": np.full(3, 0.5), "var": np.full(3, 2.0)}
    proto = build(BATCH_NORM, arrays)
    normalised = (X - 0.5) / np.sqrt(2.125)
    gradient = {"scale": normalised.sum(axis=0), "shift": np.full(3, 6.0)}
    report = gf.onnx.gradcheck(proto, gradient, X, loss=lambda y: np.sum(y))
    assert report.ok
    assert [array.name for array in report.arrays] == ["scale", "shift"]
    assert any("taken as constants: mean, var" in note for note in report.notes)
    gradient["mean"] = np.full(3, -6.0 / np.sqrt(2.125))
    assert gf.onnx.gradcheck(proto, gradient, X, loss=lambda y: np.sum(y)).ok


def test_an_identity_of_an_initialiser_is_one_by_itself():
    """So exporters write two arrays that are equal when the model is exported."""
    text = """
    <ir_version: 10, opset_import: ["" : 18]>
    agraph (double[N, 2] x) => (double[N, 2] y) { V = Identity(W)  z = MatMul(x, W)  a = Tanh(z)  y = MatMul(a, V) }
    """
    W, x = RNG.normal(size=(2, 2)), X[:, :2]
    both = gf.numerical_gradient(lambda p: np.sum(np.tanh(x @ p["W"]) @ p["V"]), {"W": W, "V": W})
    proto, loss = build(text, {"W": W}), lambda y: np.sum(y)
    assert gf.onnx.gradcheck(proto, both, x, loss=loss).ok
    assert gf.onnx.gradcheck(proto, {"W": both["W"] + both["V"]}, x, loss=loss).ok


@pytest.mark.parametrize("options", [{"method": "directional"}, {"method": "direct"}, {"sample": 3}, {"trace": False},
                                     {"method": "incremental"}, {"error_bars": True}, {"step": 1e-4}])  # fmt: skip
def test_options_as_of_gradcheck(options):
    assert check(**options).ok
    assert not check({**GRADIENT, "b1": GRADIENT["b1"] * 1.5}, **options).ok


def test_nothing_of_the_users_is_changed():
    proto = perceptron()
    before, inputs, gradient = proto.SerializeToString(), X.copy(), {k: v.copy() for k, v in GRADIENT.items()}
    check(gradient, proto)
    assert proto.SerializeToString() == before
    np.testing.assert_array_equal(X, inputs)
    assert all(np.array_equal(gradient[name], GRADIENT[name]) for name in GRADIENT)


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"model": 3}, TypeError, "model: expected a path, bytes or an onnx.ModelProto, got int"),
        ({"gradient": 3}, TypeError, "gradient: expected a dict of arrays, the path of an .npz file, or a function"),
        ({"gradient": {"W1": PARAMS["W1"]}}, ValueError, "gradient: it has no b1, W2, b2, which the model has"),
        ({"gradient": {**GRADIENT, "W1": np.zeros(3)}}, ValueError, r"W1: expected the shape \(3, 4\), got \(3,\)"),
        ({"parameters": ["W3"]}, ValueError, "parameters: no initialiser .* is called 'W3'; there are W1, b1, W2, b2"),
        ({"inputs": {"z": X}}, ValueError, "inputs: the model takes no 'z', but x"),
        ({"inputs": {}}, ValueError, "inputs: 'x' is missing"),
        ({"inputs": X[:, :2]}, ValueError, r"inputs: 'x' has the shape \('any', 3\) in the model, got \(6, 2\)"),
        ({"loss": "nothing"}, ValueError, "loss: the model has no 'nothing'; its outputs are logits"),
        ({"loss": 3}, TypeError, "loss: expected the name of an output, a cost such as gf.CrossEntropy"),
        ({"loss": "logits", "targets": None}, ValueError, r"loss: expected one number, got the shape \(6, 2\)"),
        ({"loss": "logits"}, ValueError, "targets: the loss 'logits' is computed by the model itself"),
        ({"targets": None}, TypeError, "targets: CrossEntropy needs them"),
        ({"targets": Y[:3]}, ValueError, "targets: "),
        ({"output": "nothing"}, ValueError, "output: the model has no 'nothing'; its outputs are logits"),
        ({"draws": {"nothing": X}}, ValueError, "draws: no node that draws random numbers is called 'nothing'"),
        ({"methods": "chain"}, TypeError, "gradcheck: it has no option 'methods'"),
    ],
)  # fmt: skip
def test_an_argument_that_does_not_fit_is_named(arguments, error, message):
    given = {"model": perceptron(), "gradient": GRADIENT, "inputs": X, "targets": Y, "loss": gf.CrossEntropy()}
    with pytest.raises(error, match=message):
        gf.onnx.gradcheck(**{**given, **arguments})


@pytest.mark.parametrize("has_runtime", [True, False])
def test_a_parameter_without_axes(has_runtime, monkeypatch):
    if not has_runtime:
        monkeypatch.setitem(__import__("sys").modules, "onnxruntime", None)
    text = """
    <ir_version: 10, opset_import: ["" : 18]>
    agraph (double[N, 3] x) => (double y) { z = Mul(x, s)  t = Tanh(z)  y = ReduceSum <keepdims = 0> (t) }
    """
    proto, s = build(text, {"s": 0.5}), np.array(0.5)
    right = np.sum(X * (1 - np.tanh(X * s) ** 2))
    assert gf.onnx.gradcheck(proto, {"s": right}, X, loss="y").ok
    assert not gf.onnx.gradcheck(proto, {"s": right * (1 + 1e-6)}, X, loss="y").ok


def test_a_model_of_float16_is_computed_in_float64():
    text = GRAPH.replace("double", "float16") % (18, "", "float16[N, 2] logits", "")
    proto = parser.parse_model(text)
    arrays = {name: array.astype(np.float16) for name, array in PARAMS.items()}
    for name, array in arrays.items():
        proto.graph.initializer.append(numpy_helper.from_array(array, name))
    gradient = back_propagated({name: array.astype(float) for name, array in arrays.items()})
    half = {name: array.astype(np.float16) for name, array in gradient.items()}
    assert check(half, proto).ok
    half["W1"][np.unravel_index(np.abs(half["W1"]).argmax(), (3, 4))] *= np.float16(1.5)
    report = check(half, proto)
    assert [(array.name, array.wrong) for array in report.arrays if array.wrong] == [("W1", 1)]
