"""Graphs in graphs, sequences, functions, and what is not known."""

from __future__ import annotations

import numpy as np
import pytest

import gradcheck_fast as gf

onnx = pytest.importorskip("onnx", reason="onnx is not installed")

from onnx import helper, parser  # noqa: E402

from gradcheck_fast.frontends.graphs.graph_loss import graph_loss  # noqa: E402
from gradcheck_fast.frontends.numpy_trace.recording import Untraceable  # noqa: E402
from gradcheck_fast.frontends.onnx.evaluation import evaluate  # noqa: E402
from gradcheck_fast.frontends.onnx.model import read  # noqa: E402
from gradcheck_fast.frontends.onnx.registry import ModelError  # noqa: E402
from gradcheck_fast.inputs.trees import pack  # noqa: E402

W = np.array([[0.5, -0.25], [1.0, 0.75]])
X = np.array([[1.0, 2.0], [-0.5, 0.25], [0.125, -1.0]])


def model(text, opset=21):
    return parser.parse_model(f'<ir_version: 10, opset_import: ["" : {opset}, "ai.onnx.ml" : 3, "own" : 1]> {text}')


def plain(proto, **values):
    return evaluate(proto, values, [proto.graph.output[0].name])[proto.graph.output[0].name]


def traced(proto, **rest):
    """The loss of a model with the parameter w, whose output is a number or is added up."""
    (output,) = (value.name for value in proto.graph.output)
    function = lambda p: float(np.sum(evaluate(proto, {**rest, **p}, [output])[output]))
    replay = lambda recording, p: np.sum(evaluate(proto, {**rest, **p}, [output], recording)[output])
    return function, graph_loss(function, replay, pack({"w": W}))


def gradient_is_right(proto, **rest):
    function, loss = traced(proto, **rest)
    chain = gf.numerical_gradient(loss, {"w": W}, method="chain")
    return gf.relative_error(chain, gf.numerical_gradient(function, {"w": W}, method="direct")) < 1e-6


IF = """
agraph (double[N, 2] x, double[2, 2] w, bool c) => (double[N, 2] y) {
  y = If (c) <
    then_branch = yes () => (double[N, 2] a) { a = MatMul(x, w) },
    else_branch = no () => (double[N, 2] b) { z = MatMul(x, w)  b = Neg(z) }
  >
}
"""


@pytest.mark.parametrize(("condition", "sign"), [(True, 1), (False, -1)])
def test_if_takes_the_branch_of_its_condition(condition, sign):
    proto = model(IF)
    given = {"x": X, "c": np.array(condition)}
    np.testing.assert_array_equal(plain(proto, w=W, **given), sign * X @ W)
    assert gradient_is_right(proto, **given)


LOOP = """
agraph (double[2] h, double[2, 2] w, int64 n) => (double[T, 2] y) {
  going = Constant <value = bool {1}> ()
  last, y = Loop (n, going, h) <
    body = turn (int64 i, bool before, double[2] s) => (bool after, double[2] t, double[2] seen) {
      z = MatMul(s, w)
      t = Tanh(z)
      seen = Identity(t)
      after = Identity(before)
    }
  >
}
"""


def test_loop_carries_its_state_and_collects_what_it_sees():
    proto = model(LOOP)
    h, seen = X[0], []
    for _ in range(4):
        h = np.tanh(h @ W)
        seen.append(h)
    np.testing.assert_allclose(plain(proto, h=X[0], w=W, n=np.array(4)), seen, rtol=1e-15)
    assert gradient_is_right(proto, h=X[0], n=np.array(4))


def test_a_loop_that_does_not_end_is_given_up(monkeypatch):
    monkeypatch.setattr("gradcheck_fast.frontends.onnx.control.MOST_TURNS", 10)
    with pytest.raises(ModelError, match=r"node 1, Loop \(opset 21\): it has not ended after 10 turns"):
        plain(model(LOOP.replace("Loop (n,", 'Loop ("",')), h=X[0], w=W, n=np.array(4))


SCAN = """
agraph (double[2] h, double[T, 2] x, double[2, 2] w) => (double[T, 2] y) {
  last, y = Scan <num_scan_inputs = 1, scan_input_directions = [%d], scan_output_directions = [%d],
    body = turn (double[2] s, double[2] e) => (double[2] t, double[2] seen) {
      z = MatMul(s, w)
      u = Add(z, e)
      t = Tanh(u)
      seen = Identity(t)
    }
  > (h, x)
}
"""


@pytest.mark.parametrize(("backwards", "reversed_output"), [(0, 0), (1, 0), (1, 1)])
def test_scan_goes_along_its_inputs_in_either_direction(backwards, reversed_output):
    proto, h, seen = model(SCAN % (backwards, reversed_output)), np.zeros(2), []
    for x in X[::-1] if backwards else X:
        h = np.tanh(h @ W + x)
        seen.append(h)
    expected = seen[::-1] if reversed_output else seen
    np.testing.assert_allclose(plain(proto, h=np.zeros(2), x=X, w=W), expected, rtol=1e-15)
    assert gradient_is_right(proto, h=np.zeros(2), x=X)


SEQUENCES = """
agraph (double[3, 2] x, double[2, 2] w) => (double[N, 2] y) {
  one = Constant <value = int64 {1}> ()
  rows = SplitToSequence <axis = 0> (x)
  z = MatMul(x, w)
  more = SequenceInsert(rows, z)
  fewer = SequenceErase(more, one)
  taken = SequenceAt(fewer, one)
  pair = SequenceConstruct(taken, z)
  y = ConcatFromSequence <axis = 0> (pair)
}
"""


def test_sequences_hold_arrays():
    proto = model(SEQUENCES)
    np.testing.assert_array_equal(plain(proto, x=X, w=W), np.concatenate([X[2:], X @ W]))
    assert gradient_is_right(proto, x=X)


FUNCTION = """
agraph (double[N, 2] x, double[2, 2] w) => (double[N, 2] y) {
  z = own.twice <factor = 3.0> (x, w)
  y = own.twice (z, w)
}
<domain: "own", opset_import: ["" : 21]>
twice <factor: float = 0.5> (a, b) => (c) {
  f = Constant <value_float: float = @factor> ()
  d = MatMul(a, b)
  c = Mul(d, f)
}
"""


def test_functions_of_the_model_with_attributes_and_their_defaults():
    proto = model(FUNCTION)
    np.testing.assert_allclose(plain(proto, x=X, w=W), 1.5 * X @ W @ W, rtol=1e-15)
    assert gradient_is_right(proto, x=X)


def test_only_what_the_loss_needs_is_evaluated():
    proto = model(
        "agraph (double[N, 2] x, double[2, 2] w) => (double[N, 2] y) { y = MatMul(x, w)  label = own.Unknown(y) }"
    )
    np.testing.assert_array_equal(plain(proto, x=X, w=W), X @ W)


def test_an_operator_that_onnx_defines_as_a_function_becomes_that_one():
    proto = model(
        "agraph (double[1, 1, 2, 2] q, double[2, 2] w) => (double[1, 1, 2, 2] y) "
        "{ k = MatMul(q, w)  y = Attention(q, k, k) }", 23,
    )  # fmt: skip
    _, loss = traced(proto, q=X[:2].reshape(1, 1, 2, 2))
    assert not loss.notes
    assert any("node 1, Attention: node" in str(step.source) for step in loss.program.steps)


def test_an_unknown_operator_is_differenced_by_itself_and_named():
    proto = model(
        "agraph (double[3, 2] x, double[2, 2] w, double[1, 4] rois, int64[1] at) => (double[1, 1, 2, 2] y) "
        "{ z = MatMul(x, w)  s = Constant <value = int64[4] {1, 1, 3, 2}> ()  i = Reshape(z, s) "
        "y = RoiAlign <output_height = 2, output_width = 2> (i, rois, at) }"
    )
    rest = {"x": X, "rois": np.array([[0.0, 0.0, 2.0, 2.0]]), "at": np.array([0])}
    _, loss = traced(proto, **rest)
    assert any("onnx.RoiAlign is differenced by itself" in note and "node 3" in note for note in loss.notes)
    with pytest.warns(UserWarning, match="RoiAlign"):
        assert gradient_is_right(proto, **rest)


def test_a_case_of_an_operator_that_the_table_does_not_know_is_opaque():
    proto = model(
        "agraph (double[1, 1, 2, 2] x, double[2, 2] w) => (double[1, 1, 1, 1] y) "
        "{ z = MatMul(x, w)  y = LpPool <kernel_shape = [2, 2], ceil_mode = 1> (z) }"
    )
    _, loss = traced(proto, x=X[:2].reshape(1, 1, 2, 2))
    assert any("onnx.LpPool is differenced by itself" in note for note in loss.notes)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("y = own.Whatever(x)", r"node 0, own.Whatever \(opset 1\): the operator is not known, and ONNX has no"),
        ("y = Reshape(x, x)", r"node 0, Reshape \(opset 21\): \w*Error: "),
        ("y = Add(x, nothing)", "nothing in the model is called 'nothing'"),
    ],
)
def test_a_node_that_cannot_be_evaluated_is_named(text, message):
    with pytest.raises(ModelError, match=message):
        plain(model(f"agraph (double[N, 2] x) => (double[N, 2] y) {{ {text} }}"), x=X)


def test_rounding_to_integers_has_no_slope():
    proto = model(
        "agraph (double[N, 2] x, double[2, 2] w, double s, int8 o) => (double[N, 2] y) "
        "{ q = QuantizeLinear(w, s, o)  d = DequantizeLinear(q, s, o)  y = MatMul(x, d) }"
    )
    with pytest.raises(ModelError, match=r"node 0, QuantizeLinear .*staircase"):
        traced(proto, x=X, s=np.array(0.25), o=np.array(0, np.int8))


def test_an_index_that_depends_on_the_parameters_is_a_leak():
    proto = model(
        "agraph (double[3, 2] x, double[2, 2] w) => (double y) "
        "{ z = MatMul(x, w)  m = ReduceSum <keepdims = 0> (z)  i = Cast <to = 7> (m)  y = Gather(m, i) }"
    )
    with pytest.raises((Untraceable, ModelError)):
        traced(proto, x=X)


def test_an_opset_that_is_too_old_or_too_new_is_named():
    old = model("agraph (double[N] x) => (double[N] y) { y = Neg(x) }", 9)
    with pytest.raises(ValueError, match="its opset is 9, and those from 11 on are known"):
        read(old)
    new = helper.make_model(old.graph, opset_imports=[helper.make_opsetid("", 999)])
    with pytest.raises(ValueError, match=r"its opset is 999, and onnx .* knows those up to"):
        read(new)


def test_softmax_before_opset_13_takes_all_following_axes_as_one():
    x = np.arange(4.0).reshape(1, 2, 2)
    text = "agraph (double[1, 2, 2] x) => (double[1, 2, 2] y) { y = Softmax <axis = 1> (x) }"
    old, new = plain(model(text, 12), x=x), plain(model(text, 13), x=x)
    np.testing.assert_allclose(old.sum(), 1.0)
    np.testing.assert_allclose(new.sum(axis=1), 1.0)
