"""What gf.onnx.gradcheck says of arguments that do not fit."""

from __future__ import annotations

import numpy as np
import pytest

import gradcheck_fast as gf

onnx = pytest.importorskip("onnx", reason="onnx is not installed")

from onnx import TensorProto, helper, numpy_helper  # noqa: E402

RNG = np.random.default_rng(0)
X, Y = RNG.normal(size=(6, 3)), RNG.normal(size=(6, 2))
PARAMS = {"W1": RNG.normal(size=(3, 2)), "b1": RNG.normal(size=2)}


def model(*, also_inputs=False):
    nodes = [helper.make_node("Gemm", ["x", "W1", "b1"], ["z"]), helper.make_node("Tanh", ["z"], ["out"])]
    inputs = [helper.make_tensor_value_info("x", TensorProto.DOUBLE, [None, 3])]
    if also_inputs:
        inputs += [helper.make_tensor_value_info(k, TensorProto.DOUBLE, a.shape) for k, a in PARAMS.items()]
    outputs = [helper.make_tensor_value_info("out", TensorProto.DOUBLE, [None, 2])]
    initialisers = [numpy_helper.from_array(array, name) for name, array in PARAMS.items()]
    graph = helper.make_graph(nodes, "graph", inputs, outputs, initialisers)
    return helper.make_model(graph, ir_version=10, opset_imports=[helper.make_opsetid("", 18)])


def gradient(params=PARAMS):
    out = np.tanh(X @ params["W1"] + params["b1"])
    delta = 2.0 * (out - Y) * (1.0 - out**2)
    return {"W1": X.T @ delta, "b1": delta.sum(axis=0)}


def check(found=None, proto=None, inputs=X, **options):
    options = {"loss": lambda out, y: ((out - y) ** 2).sum()} | options
    return gf.onnx.gradcheck(proto or model(), found or gradient(), inputs, Y, **options)


def test_initialisers_that_are_given_as_inputs_have_these_values():
    other = PARAMS | {"b1": PARAMS["b1"] * 2.0}
    inputs = {"x": X, "b1": other["b1"]}
    assert check(gradient(other), model(also_inputs=True), inputs).ok
    assert all(array.wrong for array in check(gradient(), model(also_inputs=True), inputs).arrays)


@pytest.mark.parametrize(
    "options, said",
    [
        ({"found": {"w1": PARAMS["W1"], "b1": PARAMS["b1"]}}, "it has w1, did you mean 'W1'"),
        ({"inputs": {"X": X}}, "inputs: the model takes no 'X', but x, did you mean 'x'"),
        ({"inputs": [[1.0, 2.0], [3.0]]}, "inputs: 'x' cannot be read as an array"),
        ({"parameters": ["w1"]}, "parameters: .* is called 'w1'; there are W1, b1, did you mean 'W1'"),
        ({"parameters": []}, "parameters: none are named; there are W1, b1"),
        ({"parameters": 3}, "parameters: expected names of initialisers, got 3"),
        ({"output": "Out"}, "output: the model has no 'Out'; its outputs are out, did you mean 'out'"),
        ({"method": "complex"}, "method: 'complex'"),
    ],
)
def test_the_message_names_the_argument_and_what_was_meant(options, said):
    with pytest.raises((TypeError, ValueError), match=said):
        check(**options)


def test_the_name_of_a_loss():
    with pytest.raises(ValueError, match="loss: the model has no 'OUT'; its outputs are out, did you mean 'out'"):
        gf.onnx.gradcheck(model(), gradient(), X, loss="OUT")


def test_files_that_are_no_gradients(tmp_path):
    np.save(tmp_path / "g.npy", np.ones(3))
    with pytest.raises(TypeError, match=r"^gradient: .*g\.npy has one array without a name; .*numpy\.savez"):
        check(tmp_path / "g.npy")
    np.savez(tmp_path / "g.npz", W1=np.array([None, 1], object), b1=np.ones(2))
    with pytest.raises(ValueError, match=r"^gradient: W1 in .*g\.npz cannot be read"):
        check(tmp_path / "g.npz")
    (tmp_path / "text.npz").write_text("no numbers")
    with pytest.raises(ValueError, match=r"^gradient: .*text\.npz is no \.npz file"):
        check(tmp_path / "text.npz")


def test_what_is_no_model(tmp_path):
    (tmp_path / "text.onnx").write_text("no model")
    for given in (tmp_path / "text.onnx", b"no model"):
        with pytest.raises(ValueError, match=r"^model: .* cannot be read as an ONNX model"):
            check(proto=given)


def test_numbers_in_another_file(tmp_path):
    onnx.save(model(), tmp_path / "m.onnx", save_as_external_data=True, location="numbers", size_threshold=0)
    assert check(proto=tmp_path / "m.onnx").ok
    for given in ((tmp_path / "m.onnx").read_bytes(), onnx.load(tmp_path / "m.onnx", load_external_data=False)):
        with pytest.raises(ValueError, match=r"^model: the numbers of W1 lie in another file; give the path"):
            check(proto=given)
    (tmp_path / "numbers").unlink()
    with pytest.raises((ValueError, OSError), match="numbers"):
        check(proto=tmp_path / "m.onnx")


def test_a_node_that_reads_what_nothing_gives():
    proto = model()
    proto.graph.node[0].input[0] = "nowhere"
    with pytest.raises(ValueError, match=r"^model: node 0, Gemm reads 'nowhere', which nothing gives"):
        check(proto=proto)
