"""gf.torch.check_function: what is looked at beside the numbers of a right gradient."""

from __future__ import annotations

import json

import pytest

import gradcheck_fast as gf

torch = pytest.importorskip("torch", reason="PyTorch is not installed")
products = pytest.importorskip("torch_products")
pytestmark = pytest.mark.usefixtures("one_thread_of_torch", "seed_of_torch")

ALL = ("unchanged tensors", "backward twice", "zero cotangent", "no cotangent", "expanded cotangent",
       "strided cotangent", "batched backward", "forward mode", "view output", "in-place output",
       "non-differentiable output", "integer input", "input without gradient", "same tensor twice")  # fmt: skip


def statuses(report):
    return {aspect.name: aspect.status for aspect in report.aspects}


def checked(function, inputs, aspect):
    """What is found of one aspect, with all others skipped."""
    report = gf.torch.check_function(function, inputs, skip=[name for name in ALL if name != aspect])
    (found,) = report.aspects
    assert found.name == aspect
    return found.status, found.detail


def test_every_aspect_of_a_right_function_is_named():
    report = gf.torch.check_function(products.times(jvp=products.right_tangent), products.two_inputs())
    assert report.ok
    assert tuple(statuses(report)) == gf.torch.ASPECTS == ALL
    assert [name for name, status in statuses(report).items() if status == "right"] == [
        "unchanged tensors", "backward twice", "zero cotangent", "expanded cotangent", "strided cotangent",
        "batched backward", "forward mode", "input without gradient", "same tensor twice",
    ]  # fmt: skip
    assert "no cotangent (there is one output)" in " ".join(str(report).split())


@pytest.mark.parametrize(
    "aspect, function",
    [pair for aspect, functions in products.WRONG_TIMES.items() for pair in [(aspect, f) for f in functions]],
)
def test_a_wrong_aspect_fails_the_report_and_is_named_first(aspect, function):
    report = gf.torch.check_function(function, products.two_inputs())
    assert report.verdict == "FAIL"
    assert report.wrong == 0
    assert statuses(report)[aspect] == "wrong"
    assert aspect in next(line for line in str(report).splitlines() if line.startswith("gradcheck: FAIL   wrong in"))
    assert aspect in report._repr_html_()
    assert {"name": aspect, "status": "wrong"}.items() <= next(
        found for found in json.loads(json.dumps(report.to_dict()))["aspects"] if found["name"] == aspect
    ).items()


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16])
@pytest.mark.parametrize("aspect", ["expanded cotangent", "input without gradient", "same tensor twice"])
def test_aspects_are_looked_at_in_the_dtype_that_is_given(aspect, dtype):
    inputs = products.two_inputs(dtype)
    assert checked(products.times(), inputs, aspect)[0] == "right"
    assert checked(products.WRONG_TIMES[aspect][0], inputs, aspect)[0] == "wrong"


def test_an_aspect_can_be_skipped():
    wrong = products.times(backward=products.ignores_strides)
    report = gf.torch.check_function(wrong, products.two_inputs(), skip=("expanded cotangent", "strided cotangent"))
    assert report.ok
    assert "strided cotangent" not in statuses(report)
    assert gf.torch.check_function(wrong, products.two_inputs(), skip=gf.torch.ASPECTS).aspects == ()
    with pytest.raises(ValueError, match="skip: unknown name 'strided', did you mean 'strided cotangent'"):
        gf.torch.check_function(wrong, products.two_inputs(), skip="strided")


def test_no_aspect_is_looked_at_if_the_gradient_is_wrong():
    wrong = products.times(backward=lambda ctx, grad: (grad, grad))
    assert gf.torch.check_function(wrong, products.two_inputs()).aspects == ()


@pytest.mark.parametrize("what", products.VIEWS)
def test_an_output_in_the_memory_of_an_input(what):
    function, expected = products.VIEWS[what]
    status, detail = checked(function, products.two_inputs()[0], "view output")
    assert status == expected
    assert detail.startswith("output lies in the memory of inputs[0]" if expected == "wrong" else "")


@pytest.mark.parametrize("what", products.IN_PLACE)
def test_an_input_that_is_written_into(what):
    function, expected = products.IN_PLACE[what]
    status, detail = checked(function, products.two_inputs()[0], "in-place output")
    assert status == expected
    assert detail.startswith("inputs[0] is written into" if expected == "wrong" else "")


@pytest.mark.parametrize("function, detail", [
    (products.SinAndDouble, ""),
    (products.FailsWithoutCotangent, "with a cotangent of output[0] alone, and None for the others, TypeError"),
    (products.ForgetsWithoutCotangent, "with a cotangent of output[1] alone, and None for the others, inputs[0][1, 3]"),
])  # fmt: skip
def test_outputs_without_a_cotangent(function, detail):
    status, said = checked(function, products.two_inputs()[0], "no cotangent")
    assert status == ("wrong" if detail else "right")
    assert said.startswith(detail)


def test_a_backward_that_writes_into_indices():
    def backward(ctx, grad):
        found = torch.zeros(3, 4, dtype=grad.dtype).index_add_(0, ctx.index, grad)
        ctx.index.zero_()
        return found, None

    def forward(ctx, x, index):
        ctx.index = index
        return x[index]

    wrong, inputs = products.of_one(forward, backward), (products.two_inputs()[0], torch.tensor([2, 1, 2]))
    assert checked(wrong, inputs, "integer input") == ("wrong", "inputs[1] is written into")
    assert checked(torch.index_select, (inputs[0], 0, inputs[1]), "integer input")[0] == "right"


def test_outputs_without_a_gradient():
    x = products.two_inputs()[0]
    marked = products.of_one(
        lambda ctx, x: (ctx.mark_non_differentiable(total := x.sum()), (2 * x, total))[1], lambda ctx, grad, _: 2 * grad
    )
    assert checked(marked, x, "non-differentiable output") == (
        "right", "output[1] changes with the inputs, and is marked as having no gradient"
    )  # fmt: skip
    status, detail = checked(lambda x: (2 * x, x.sum().detach()), x, "non-differentiable output")
    assert (status, detail) == ("not checked", "output[1] changes with the inputs, but was detached")


@pytest.mark.parametrize("function", [torch.amax, torch.relu, torch.abs, torch.median, lambda x: x.max(0).values])
def test_forward_mode_may_take_other_slopes_at_kinks(function):
    x = torch.tensor([1.0, 2.0, 2.0, 0.0], dtype=torch.float64, requires_grad=True)
    assert statuses(gf.torch.check_function(function, x))["forward mode"] == "right"


def test_a_gradient_that_is_nothing_but_rounding_says_nothing():
    x, w = products.two_inputs()
    function = lambda x, w: torch.softmax(x + w[:, :1], -1)
    report = gf.torch.check_function(function, (x, w), skip="forward mode")
    assert "wrong" not in statuses(report).values()


def test_a_function_with_parameters_of_its_own():
    report = gf.torch.check_function(torch.nn.LSTM(4, 3).double(), products.two_inputs()[0])
    assert report.ok, str(report)


def test_nothing_that_is_given_is_changed():
    x, w = products.two_inputs()
    x.grad, calls = torch.ones_like(x), []
    x.register_hook(lambda grad: calls.append(1))
    before, versions, state = x.detach().clone(), (x._version, w._version), torch.get_rng_state()
    assert gf.torch.check_function(
        lambda x, w: torch.nn.functional.dropout(x.mul_(2), 0.5) * w, (x, w), second_order=True
    )
    assert torch.equal(x.detach(), before)
    assert torch.equal(x.grad, torch.ones_like(x))
    assert w.grad is None
    assert (x._version, w._version) == versions
    assert x.requires_grad
    assert len(x._backward_hooks) == 1
    assert torch.equal(torch.get_rng_state(), state)
