"""Each operator of ONNX at random attributes, in each opset at which it changed."""

from __future__ import annotations

import re
import runpy
from pathlib import Path

import numpy as np
import pytest

import gradcheck_fast as gf

onnx = pytest.importorskip("onnx", reason="onnx is not installed")

import onnx_cases  # noqa: E402
import onnx_peers  # noqa: E402

from gradcheck_fast.frontends.graphs.graph_loss import graph_loss  # noqa: E402
from gradcheck_fast.frontends.onnx.evaluation import evaluate  # noqa: E402
from gradcheck_fast.frontends.onnx.table import entries  # noqa: E402
from gradcheck_fast.inputs.trees import pack  # noqa: E402

TOOL = Path(__file__).parents[2] / "tools" / "onnx_operators.py"
VERSIONS = [(name, domain, opset) for domain, name in onnx_cases.CALLS for opset in onnx_cases.opsets_of(name, domain)]
#: Where onnxruntime does something else; the table of the docs has the calls.
DIFFERS = {
    "LSTM": lambda call: any(a.name == "clip" for a in call.node.attribute),
    "MaxPool": lambda call: any(a.name == "auto_pad" and a.s.startswith(b"SAME") for a in call.node.attribute),
    "Resize": lambda call: any(a.name == "antialias" and a.i for a in call.node.attribute),
}
#: Their results do not change with their inputs, or are rounded, or the calls have ties.
NO_SLOPE = {
    "Floor", "Ceil", "Round", "Sign", "IsNaN", "IsInf", "Greater", "Less", "GreaterOrEqual", "LessOrEqual", "Equal",
    "Cast", "CastLike", "Hardmax", "ArgMax", "ArgMin", "Shape", "Size", "EyeLike", "TopK", "Range", "Binarizer",
    "Imputer", "ConstantOfShape", "Constant",
}  # fmt: skip
#: The inputs that are plain sizes.
SIZES = {"Resize": {"x1", "x2"}, "Dropout": {"x1"}}


def required_peer(call):
    """What onnxruntime computes; if it cannot, what the reference does where that is right, or None."""
    for compute in (onnx_peers.by_onnxruntime, onnx_peers.by_reference):
        try:
            return compute(call)
        except onnx_peers.CannotError:
            if call.operator == "LRN":  # the reference takes other channels
                return None
    return None


def compare(name, domain, opset, seeds):
    """Compares calls with onnxruntime, and returns how many of them were."""
    compared = 0
    for seed in seeds:
        call = onnx_cases.make(name, domain, opset, seed)
        own, peer = onnx_peers.by_table(call), required_peer(call)
        if peer is None or (name in DIFFERS and DIFFERS[name](call)):
            continue
        compared += 1
        for found, expected in zip(own, peer, strict=True):
            assert onnx_peers.difference(found, expected) <= 1e-5, f"seed {seed}: {call.node}"
    return compared


@pytest.mark.parametrize(("name", "domain", "opset"), VERSIONS)
def test_an_operator_is_that_of_onnxruntime(name, domain, opset):
    pytest.importorskip("onnxruntime", reason="onnxruntime is not installed")
    compared = compare(name, domain, opset, range(3))
    assert compared or name in DIFFERS or name == "GlobalLpPool"


@pytest.mark.long
@pytest.mark.parametrize(("name", "domain", "opset"), VERSIONS)
def test_an_operator_is_that_of_onnxruntime_at_many_attributes(name, domain, opset):
    pytest.importorskip("onnxruntime", reason="onnxruntime is not installed")
    compare(name, domain, opset, range(3, 40))


def test_results_are_of_float64():
    call = onnx_cases.make("Conv", "", 22, 0)
    (own,), (reference,) = onnx_peers.by_table(call), onnx_peers.by_reference(call)
    assert own.dtype == np.float64
    assert onnx_peers.difference(own, reference) < 1e-14


def newest(name, domain):
    return max(onnx_cases.opsets_of(name, domain))


def has_slope(name, domain):
    call = onnx_cases.make(name, domain, newest(name, domain), 0)
    return name not in NO_SLOPE and any(array.dtype.kind == "f" for array in call.inputs.values())


@pytest.mark.parametrize(("domain", "name"), [key for key in onnx_cases.CALLS if has_slope(key[1], key[0])])
def test_an_operator_of_traced_arrays(domain, name):
    """The program is the function, also beside the parameters, and its gradient that of plain differences."""
    seen = 0
    for seed in range(3):
        call = onnx_cases.make(name, domain, newest(name, domain), seed)
        model, weights = call.model(np.float64), np.random.default_rng(5)
        params = {
            key: array
            for key, array in call.inputs.items()
            if array.dtype.kind == "f" and key not in SIZES.get(name, ())
        }
        if any(a.name == "mode" and a.s == b"nearest" for a in call.node.attribute):
            params.pop("x1", None)  # a grid whose slope is zero, and that jumps
        if not params:
            continue
        seen += 1
        rest = {key: array for key, array in call.inputs.items() if key not in params}
        factors = {key: weights.normal(size=101) for key in call.outputs}

        def total(found, factors=factors):
            return sum(np.sum(y * np.resize(factors[key], y.shape)) for key, y in found.items() if y.dtype.kind == "f")

        function = lambda p: float(total(evaluate(model, {**rest, **p}, call.outputs)))  # noqa: B023
        replay = lambda recording, p: total(evaluate(model, {**rest, **p}, call.outputs, recording))  # noqa: B023
        loss = graph_loss(function, replay, pack(params))
        assert not loss.notes
        chain = gf.numerical_gradient(loss, params, method="chain")
        if seed == 0:
            differences = gf.numerical_gradient(function, params, method="direct")
            assert gf.relative_error(chain, differences) < 1e-5
    assert seen


def test_the_table_of_the_docs_names_each_operator_and_its_opsets():
    rows = dict(
        re.findall(r"^\| `([\w.]+)` \| ([^|]*) \|", (TOOL.parents[1] / "docs/onnx-operators.md").read_text(), re.M)
    )
    for domain, name, _ in entries():
        title = f"{domain}.{name}" if domain else name
        expected = "1–" if domain else ", ".join(map(str, onnx_cases.opsets_of(name, domain)))
        assert rows[title].startswith(expected) or expected.startswith(rows[title]), "run tools/onnx_operators.py"
    assert len(rows) == len({(domain, name) for domain, name, _ in entries()} | set(onnx_cases.CALLS))


@pytest.mark.long
def test_the_docs_are_up_to_date():
    runtime = pytest.importorskip("onnxruntime", reason="onnxruntime is not installed")
    tool = runpy.run_path(str(TOOL))
    written = tool["FILE"].read_text()
    if f"(onnx {onnx.__version__}, onnxruntime {runtime.__version__})" not in written:
        pytest.skip("it was written with other versions of onnx or onnxruntime")
    assert written == tool["text"](), "run tools/onnx_operators.py"
