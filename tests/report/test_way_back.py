"""The user's source in a report: the size of each line's sensitivity, and where the user's way back goes wrong."""

from __future__ import annotations

import numpy as np
import pytest

import gradcheck_fast as gf
from gradcheck_fast.report.html import fragment
from gradcheck_fast.report.way_back import way_back

RNG = np.random.default_rng(0)
X, Y = RNG.normal(size=(6, 3)), RNG.normal(size=(6, 2))
PARAMS = {
    "W1": RNG.normal(size=(3, 5)), "b1": RNG.normal(size=5), "W2": RNG.normal(size=(5, 2)), "b2": RNG.normal(size=2),
}  # fmt: skip


def loss(p):
    z1 = X @ p["W1"] + p["b1"]
    a1 = np.tanh(z1)
    # <not> a "step"
    z2 = a1 @ p["W2"] + p["b2"]
    return 0.5 * np.sum((z2 - Y) ** 2)


def deltas(p):
    a1 = np.tanh(X @ p["W1"] + p["b1"])
    d2 = a1 @ p["W2"] + p["b2"] - Y
    return a1, d2, d2 @ p["W2"].T * (1 - a1**2)


def grads(a1, d2, d1):
    return {"W1": X.T @ d1, "b1": d1.sum(axis=0), "W2": a1.T @ d2, "b2": d2.sum(axis=0)}


def right(p):
    return grads(*deltas(p))


def without_slope(p):
    a1, d2, _ = deltas(p)
    return grads(a1, d2, d2 @ p["W2"].T)


def verdicts(report):
    """What is said of each line, by the variable that is assigned there."""
    return {line.text.strip().split(" ")[0]: line.verdict for line in report.lines}


def test_of_a_right_gradient_every_line_is_right():
    assert verdicts(gf.gradcheck(loss, right, PARAMS)) == dict.fromkeys(["z1", "a1", "z2", "return"], "right")


@pytest.mark.parametrize("form", [without_slope, without_slope(PARAMS)], ids=["function", "arrays"])
def test_the_way_back_is_right_above_the_mistake_and_wrong_from_there_on(form):
    report = gf.gradcheck(loss, form, PARAMS)
    assert verdicts(report) == {"z1": "wrong", "a1": "wrong from here on", "z2": "right", "return": "right"}


def test_what_is_wrong_in_no_known_way_lies_below_what_is_right():
    gradient = right(PARAMS)
    gradient["W1"] = gradient["W1"] + RNG.normal(size=(3, 5))
    gradient["b1"] = gradient["b1"] * np.arange(5.0)
    report = gf.gradcheck(loss, gradient, PARAMS)
    assert report.diagnoses == ()
    assert verdicts(report) == {"z1": "unknown", "a1": "unknown", "z2": "right", "return": "right"}


def test_a_line_of_the_gradient_function_shows_where_the_way_back_goes_wrong():
    def strange(p):
        a1, d2, _ = deltas(p)
        d1 = d2 @ p["W2"].T * np.cos(a1)
        return grads(a1, d2, d1)

    report = gf.gradcheck(loss, strange, PARAMS)
    assert "the first line of your gradient that is not right" in report.diagnoses[0].cause
    assert verdicts(report) == {"z1": "wrong", "a1": "wrong from here on", "z2": "right", "return": "right"}


def test_an_array_in_another_order_is_wrong_by_itself():
    gradient = right(PARAMS)
    gradient["W1"] = gradient["W1"].T.reshape(3, 5)
    report = gf.gradcheck(loss, gradient, PARAMS)
    assert len(report.diagnoses) == 1
    assert verdicts(report) == {"z1": "wrong from here on", "a1": "right", "z2": "right", "return": "right"}


def test_intermediates_tell_what_the_arrays_do_not():
    _, _, d1 = deltas(PARAMS)
    gradient = right(PARAMS)
    gradient["W1"] = gradient["W1"] + RNG.normal(size=(3, 5))
    gradient["b1"] = gradient["b1"] * np.arange(5.0)
    report = gf.gradcheck(loss, gradient, PARAMS, intermediates={"dz1": d1})
    assert verdicts(report)["a1"] == "right"
    report = gf.gradcheck(loss, gradient, PARAMS, intermediates={"dz1": d1 * RNG.normal(size=d1.shape)})
    assert verdicts(report) == {"z1": "wrong", "a1": "unknown", "z2": "right", "return": "right"}


def test_steps_know_what_they_read():
    z1, a1, _, _ = gf.gradcheck(loss, right, PARAMS).lines
    assert [(row.operation, row.name, row.inputs) for row in (*z1.rows, *a1.rows)] == [
        ("matmul", "", ("constant", "W1")),
        ("add", "z1", (f"#{z1.rows[0].number}", "b1")),
        ("tanh", "a1", ("z1",)),
    ]
    _, _, d1 = deltas(PARAMS)
    assert z1.rows[1].sensitivity == pytest.approx(np.abs(d1).max(), rel=1e-12)


# ---- in HTML


def test_html_says_where_it_goes_wrong_and_is_folded_unless_something_does():
    wrong, fine = (fragment(gf.gradcheck(loss, gradient, PARAMS)) for gradient in (without_slope, right))
    assert '<details class="way" open>' in wrong
    assert '<details class="way">' in fine
    assert wrong.count("← wrong from here on") == 1
    assert "a1 = np.tanh(z1)   <b>← wrong from here on</b>" in wrong
    assert "wrong" not in fine.split("<summary>The loss by lines")[1].split("</details></details>")[0]
    for html in (wrong, fine):
        assert "# &lt;not&gt; a &quot;step&quot;" in html


def test_a_line_unfolds_to_its_steps():
    html = way_back(gf.gradcheck(loss, right, PARAMS))
    assert "<td>matmul</td><td></td><td>6×5</td><td>constant, W1</td>" in html
    assert html.count("<details") == 1 + 4


def long_loop(w):
    total = 0.0
    for k in range(100):
        total = total + np.sum(w * k)
    return total


def test_of_a_loop_some_steps_are_shown_and_the_others_counted():
    html = way_back(gf.gradcheck(long_loop, np.full(2, 4950.0), np.ones(2)))
    assert html.count("<tr>") == 61
    assert "and 240 more steps: multiply ×100" in html


def test_a_very_long_line_is_cut(tmp_path):
    path = tmp_path / "long.py"
    path.write_text("import numpy as np\ndef loss(w):\n    return np.sum(w)  # " + "<" * 9_000 + "\n")
    space = {}
    exec(compile(path.read_text(), str(path), "exec"), space)
    html = way_back(gf.gradcheck(space["loss"], np.ones(2), np.ones(2)))
    assert "…" in html
    assert html.count("&lt;") < 300
