"""Hand-written NumPy functions are traced: to the last digits, certified, and with nothing of theirs changed."""

import copy
import runpy
import threading
import time
import warnings

import numpy as np
import pytest
from handwritten import ALL
from untraceable import ALL as UNTRACEABLE

import gradcheck_fast as gf
from gradcheck_fast.inputs.trees import pack, pack_as

each = pytest.mark.parametrize("written", ALL, ids=lambda written: written.name)


def distance(found, right):
    return np.linalg.norm(found - right) / np.linalg.norm(right)


def flat(tree, params):
    packed = pack(params)
    return pack_as(tree, packed.shapes, paths=packed.paths, gradient=True).flat


@each
def test_a_hand_written_function_is_traced_and_certified(written):
    """The derivative along a direction is that of plain differences of the function, to their own error."""
    gradient = gf.numerical_gradient(written.loss, written.params)
    report = gf.gradcheck(written.loss, gradient, written.params)
    assert report.ok
    assert (report.method, report.notes) == ("chain", ())
    assert report.certificate.holds
    assert report.certificate.agreement <= 1e-13
    packed = pack(written.params)
    direction = np.random.default_rng(0).standard_normal(packed.flat.size)
    h = 1e-6 / np.linalg.norm(direction)
    ends = [float(written.loss(packed.unpack(packed.flat + sign * h * direction))) for sign in (1.0, -1.0)]
    slope = flat(gradient, written.params) @ direction
    scale = np.linalg.norm(flat(gradient, written.params)) * np.linalg.norm(direction)
    assert abs((ends[0] - ends[1]) / (2.0 * h) - slope) <= 1e-7 * scale + 1e-15 * abs(ends[0]) / h


@each
def test_its_gradient_is_that_of_autograd(written):
    pytest.importorskip(written.reference_needs)
    right = flat(written.reference(written.params), written.params)
    assert distance(flat(gf.numerical_gradient(written.loss, written.params), written.params), right) <= 1e-13


@pytest.mark.parametrize("written", ALL[::6], ids=lambda written: written.name)
def test_a_wrong_entry_is_found_and_it_alone(written):
    gradient = pack(gf.numerical_gradient(written.loss, written.params))
    wrong = gradient.flat.copy()
    place = int(np.argmax(np.abs(wrong)))
    wrong[place] *= 1.0 + 1e-6
    report = gf.gradcheck(written.loss, gradient.unpack(wrong), written.params)
    assert not report.ok
    assert report.wrong == 1


@pytest.mark.parametrize("function", UNTRACEABLE, ids=lambda function: function.name)
def test_what_cannot_be_traced_is_said_or_agrees_with_plain_differences(function):
    if function.needs:
        pytest.importorskip(function.needs)
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        found = flat(gf.numerical_gradient(function.loss, copy.deepcopy(function.params)), function.params)
    if said or not function.deterministic:
        return
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        plain = gf.numerical_gradient(function.loss, copy.deepcopy(function.params), trace=False)
    if function.name != "follows_the_larger":  # plain differences reach over a jump
        assert np.abs(found - flat(plain, function.params)).max() <= 1e-6 * max(1.0, np.abs(found).max())


# ---- nothing is changed, and nothing is left


class Model:
    """Keeps what it saw, as forward passes do."""

    def __init__(self):
        self.history, self.calls, self.cache = [], 0, {}

    def loss(self, w):
        self.calls += 1
        self.cache["h"] = np.tanh(w)
        self.history.append(self.cache["h"].sum())
        return (self.cache["h"] ** 2).sum()

    def gradient(self, w):
        return 2.0 * self.cache["h"] * (1.0 - self.cache["h"] ** 2)


def test_what_the_function_keeps_is_put_back_and_the_last_call_is_a_plain_one():
    model, w = Model(), np.array([0.3, -0.5])
    traced = gf.trace(model.loss, w)
    assert (model.calls, model.history, model.cache) == (0, [], {})
    assert gf.gradcheck(traced, model.gradient, w)
    assert gf.gradcheck(model.loss, model.gradient, w)
    assert type(model.cache["h"]) is np.ndarray
    assert all(type(value) is not type(traced) for value in model.history)
    np.testing.assert_array_equal(model.cache["h"], np.tanh(w))


def test_the_parameters_are_not_changed():
    def careless(p):
        p["W"] *= 2.0
        p["new"] = p["W"].sum()
        return p["new"] + (p["W"] ** 3).sum()

    params = {"W": np.array([1.0, 2.0])}
    report = gf.gradcheck(careless, {"W": 2.0 + 24.0 * params["W"] ** 2}, params)
    assert report.ok
    assert list(params) == ["W"]
    np.testing.assert_array_equal(params["W"], [1.0, 2.0])


def test_random_numbers_are_the_same_in_every_call_and_the_generator_is_left_as_it_was():
    generator = np.random.default_rng(3)

    def dropout(w):
        mask = generator.random(w.shape) < 0.5
        return ((w * mask) ** 2).sum() + w.sum()

    w = np.array([0.5, -1.0, 2.0, 0.1])
    with pytest.warns(UserWarning, match="each call of it gets the same ones"):
        gradient = gf.numerical_gradient(dropout, w)
    mask = np.random.default_rng(3).random(4) < 0.5
    np.testing.assert_allclose(gradient, 2.0 * w * mask + 1.0, rtol=1e-14)


def test_an_exception_of_the_function_is_its_own():
    def fails(w):
        h = np.tanh(w)
        raise KeyError("no such layer")
        return h

    with pytest.raises(KeyError, match="no such layer") as caught:
        gf.gradcheck(fails, np.ones(2), np.ones(2))
    assert "fails" in [entry.name for entry in caught.traceback]
    with pytest.raises(KeyError, match="no such layer"):
        gf.trace(fails, np.ones(2))


def test_a_traced_value_that_escapes_says_what_it_is():
    kept = []

    def keeps(w):
        kept.append(w * 2.0)
        return (w**2).sum()

    from gradcheck_fast.frontends.numpy_trace.trace import record

    record(keeps, pack(np.ones(2)))
    with pytest.raises(RuntimeError, match="stands for a value of a function that gradcheck_fast traced"):
        kept[0] + 1.0


def test_traces_in_several_threads_do_not_meet():
    found = {}

    def work(k):
        def loss(w):
            buffer = np.zeros(5)
            for t in range(5):
                buffer[t] = np.sin(k * w[t])
            return buffer.sum()

        w = np.linspace(0.1, 0.9, 5)
        found[k] = np.abs(gf.numerical_gradient(loss, w) - k * np.cos(k * w)).max()

    threads = [threading.Thread(target=work, args=(k,)) for k in range(1, 9)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 8
    assert max(found.values()) <= 1e-14


def test_traces_of_one_object_in_several_threads_wait_for_each_other():
    model, found = Model(), []

    def loss(w):
        model.w = w
        model.hidden = np.tanh(model.w)
        time.sleep(1e-3)  # the others have their turn
        return (model.hidden * model.w).sum()

    def work():
        found.append(gf.trace(loss, np.array([0.2, 0.4])))

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 4
    assert not hasattr(model, "hidden")


def test_the_table_has_a_row_for_each_line():
    def loss(w):
        h = np.tanh(w)
        return (h**2).sum()

    rows = str(gf.trace(loss, np.ones(3))).splitlines()
    assert rows[0].split() == ["line", "steps", "shape", "operations", "source"]
    assert [row[34:].split("  ")[0] for row in rows[1:]] == ["tanh", "square, sum"]
    assert [row.split()[1] for row in rows[1:]] == ["1", "2"]
    assert rows[1].endswith("  h = np.tanh(w)")
    assert rows[2].endswith("  return (h**2).sum()")


def test_the_table_has_the_largest_sensitivity_of_each_line():
    def loss(w):
        h = np.tanh(w)
        return (h**2).sum()

    w = np.array([0.5, -1.0])
    traced = gf.trace(loss, w)
    rows = traced.table(w).splitlines()
    assert rows[0].split()[3] == "|dE/dvalue|"
    assert [float(row[34:46]) for row in rows[1:]] == pytest.approx([2 * np.tanh(1.0), 1.0], rel=1e-2)
    tanh, total = traced.lines(w)
    assert (tanh.file, tanh.line, tanh.text) == (__file__, loss.__code__.co_firstlineno + 1, "        h = np.tanh(w)")
    assert tanh.sensitivity == pytest.approx(2 * np.tanh(1.0), rel=1e-15)
    assert (total.operations, total.steps, total.shape, total.sensitivity) == ("square, sum", 2, (), 1.0)


def test_the_table_names_the_files_if_there_are_several(tmp_path):
    other = tmp_path / "layers.py"
    other.write_text("import numpy as np\n\n\ndef layer(w):\n    return np.tanh(w)\n")
    layer = runpy.run_path(str(other))["layer"]

    def loss(w):
        return layer(w * w).sum()

    rows = str(gf.trace(loss, np.ones(3))).splitlines()
    assert [rows[1], rows[3]] == [__file__, str(other)]
    assert [rows[2].split()[-1], rows[4].split()[-1]] == ["w).sum()", "np.tanh(w)"]


def test_sensitivities_are_the_derivatives_by_intermediates():
    def loss(w):
        h = np.tanh(w)
        return (h**2).sum()

    w = np.array([0.3, -0.7])
    by_operation = {found.operation: found for found in gf.trace(loss, w).sensitivities(w)}
    np.testing.assert_allclose(by_operation["tanh"].gradient, 2.0 * np.tanh(w), rtol=1e-15)
    assert by_operation["tanh"].line.endswith(f"line {loss.__code__.co_firstlineno + 1}")
    assert by_operation["sum"].gradient == 1.0
    assert (by_operation["tanh"].name, by_operation["sum"].name) == ("h", "")
    assert (by_operation["tanh"].file, by_operation["tanh"].number) == (__file__, loss.__code__.co_firstlineno + 1)


def test_other_parameters_are_compared_with_the_function_again():
    def branches(w):
        return w[0] ** 2 if w[0] > 0.0 else -3.0 * w[0] + w[1]

    traced = gf.trace(branches, np.array([1.0, 2.0]))
    report = gf.gradcheck(traced, np.array([-3.0, 1.0]), np.array([-1.0, 2.0]))
    assert report.ok
    assert "the trace is not used" in " ".join(report.notes)


def test_an_error_too_small_for_the_function_to_show_is_inconclusive():
    def loss(w):
        return 1e3 + (w**2).sum()

    w = np.array([0.5, 1.5])
    wrong = 2.0 * w * np.array([1.0 + 1e-12, 1.0])
    report = gf.gradcheck(loss, wrong, w)
    assert (report.verdict, report.wrong) == ("INCONCLUSIVE", 0)
    assert "by so little" in report.notes[-1]


def test_trace_false_gives_plain_differences():
    def loss(w):
        return (w**3).sum()

    assert gf.gradcheck(loss, 3.0 * np.ones(2), np.ones(2), trace=False).method == "direct"
    with pytest.raises(TypeError, match="trace"):
        gf.gradcheck(loss, 3.0 * np.ones(2), np.ones(2), trace="no")


def test_what_numpy_warns_of_is_said_with_the_users_line_alone():
    def loss(w):
        return np.where(w > 0.0, np.log(w), w).sum()

    w = np.array([1.0, -1.0])
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        assert gf.gradcheck(loss, np.ones(2), w).method == "chain"
    assert {warning.filename for warning in said} == {__file__}


def test_another_name_of_an_array_that_is_written_into_is_the_same_array():
    buffer = np.zeros(2)

    def loss(w):
        before = buffer[:]
        buffer[:] = w**2
        return np.copy(before).sum() + np.array(before).sum()

    w = np.array([2.0, 3.0])
    np.testing.assert_array_equal(gf.numerical_gradient(loss, w), 4.0 * w)


def test_a_function_that_reads_a_model_instead_of_its_argument_is_told_so():
    model = Model()
    model.w = np.array([0.2, 0.4])

    def loss(w):
        return (model.w**2).sum()

    report = gf.gradcheck(loss, 2.0 * model.w, model.w.copy())
    assert not report.ok
    assert "it seems to read model.w" in " ".join(report.notes)


def test_the_line_that_parts_is_named_at_zero_too():
    def loss(w):
        if w[0] == 0.0:
            return w.sum()
        return 2.0 * w.sum()

    w = np.zeros(3)
    with pytest.warns(UserWarning, match=rf"line {loss.__code__.co_firstlineno + 3}: another way is taken"):
        gf.numerical_gradient(loss, w)


def test_the_line_that_cannot_be_traced_is_named():
    def loss(w):
        h = w**2
        scale = float(f"{h[0]:.17g}")
        return (h * scale).sum()

    w = np.array([2.0, 3.0])
    with pytest.warns(UserWarning, match=rf"line {loss.__code__.co_firstlineno + 2}: .*differences"):
        gf.numerical_gradient(loss, w)
