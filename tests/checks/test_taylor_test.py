"""taylor_test(): rates of Taylor remainders, for those who can move directions only."""

import json

import numpy as np
import pytest

import gradcheck_fast as gf

M = {"source": np.array([0.3, -1.2, 0.7]), "rate": np.array(0.7), "shift": np.zeros(2)}


def loss(m):
    return float(np.exp(m["rate"]) * np.sum(np.sin(m["source"])) + np.sum(np.cos(m["shift"]) + m["shift"]))


def gradient(m):
    factor = np.exp(m["rate"])
    return {
        "source": factor * np.cos(m["source"]), "rate": factor * np.sum(np.sin(m["source"])),
        "shift": 1.0 - np.sin(m["shift"]),
    }  # fmt: skip


def test_a_right_gradient_has_rate_2():
    report = gf.taylor_test(loss, gradient, M)
    assert report
    assert report.lowest_rate == pytest.approx(2.0, abs=0.1)
    assert min(report.together.orders[0].known_rates) == pytest.approx(1.0, abs=0.2)
    assert [one.name for one in report.arrays] == ["source", "rate", "shift"]
    assert all(one.status == "right" for one in report.arrays)
    report.raise_if_failed()


def test_a_wrong_gradient_has_rate_1_and_the_size_of_the_error():
    wrong = gradient(M)
    wrong["source"] = 1.01 * wrong["source"]
    dm = {"source": np.array([1.0, 2.0, -1.0]), "rate": np.array(0.5), "shift": np.ones(2)}
    report = gf.taylor_test(loss, wrong, M, direction=dm)
    right = gradient(M)
    assert report.verdict == "FAIL"
    assert report.wrong == ("source",)
    assert report.together.last_rate == pytest.approx(1.0, abs=0.1)
    assert report.together.error == pytest.approx(-0.01 * right["source"] @ dm["source"], rel=1e-3)
    assert report.reason.startswith("the remainder falls only as h: the slope of the loss is ")
    assert ", in source (rate " in report.reason
    with pytest.raises(gf.GradientError, match="taylor_test: FAIL"):
        report.raise_if_failed()


def test_a_wrong_array_that_hides_beside_large_ones():
    m = {"large": np.full(3, 1e2), "small": np.array([1.0])}
    of = lambda m: float(1e3 * np.sum(m["large"] ** 2) + np.sin(m["small"]).sum())
    report = gf.taylor_test(of, {"large": 2e3 * m["large"], "small": 2.0 * np.cos(m["small"])}, m)
    assert report.together.status != "wrong"
    assert report.wrong == ("small",)
    assert report.reason.startswith("moved alone, small: the remainder falls only as h")


def test_hessian():
    x = np.array([0.5, -0.2, 1.0])
    of, first = (lambda x: float(np.sum(np.exp(x)) + x[0] * x[1])), lambda x: np.exp(x) + np.array([x[1], x[0], 0.0])
    matrix = np.diag(np.exp(x)) + np.eye(3)[[1, 0, 2]] * np.array([[1.0], [1.0], [0.0]])
    for hessian in (matrix, lambda x, v: matrix @ v, lambda v: matrix @ v):
        report = gf.taylor_test(of, first, x, hessian=hessian)
        assert report.ok
        assert report.lowest_rate == pytest.approx(3.0, abs=0.2)
    wrong = gf.taylor_test(of, first, x, hessian=1.1 * matrix)
    assert wrong.verdict == "FAIL"
    assert "the gradient is right, but the remainder with the Hessian has a part of h²" in wrong.reason


def test_steps_at_which_noise_sets_in_are_left_out():
    single = lambda x: float(np.float32(np.exp(x).sum()))
    report = gf.taylor_test(single, np.exp, np.ones(4))
    assert report.ok
    assert report.together.left_out > 0
    assert "steps are left out of the rates" in str(report)
    assert report.together.seen_from < 0.01
    assert gf.taylor_test(single, lambda x: 1.05 * np.exp(x), np.ones(4)).verdict == "FAIL"


def test_linear_losses_have_no_remainder():
    assert gf.taylor_test(lambda x: float(3.0 * x.sum()), np.full(4, 3.0), np.ones(4)).ok
    assert gf.taylor_test(lambda x: float(3.0 * x.sum()), np.full(4, 2.0), np.ones(4)).verdict == "FAIL"
    assert gf.taylor_test(lambda x: 7.0, np.zeros(4), np.ones(4)).verdict == "INCONCLUSIVE"


def test_at_a_minimum_the_slope_is_0():
    assert gf.taylor_test(lambda x: float(x @ x), lambda x: 2.0 * x, np.zeros(3)).ok


def test_a_kink_makes_no_gradient_wrong():
    report = gf.taylor_test(lambda x: float(np.abs(x).sum()), lambda x: 0.5 * np.ones_like(x), np.zeros(1))
    assert report.verdict == "INCONCLUSIVE"
    assert "the loss has a kink: its slopes are" in report.reason


def test_large_steps_may_leave_the_domain():
    report = gf.taylor_test(lambda x: float(np.sum(np.sqrt(0.01 - (x - 1.0)))) if (x <= 1.01).all() else 1 / 0,
                            lambda x: -0.5 / np.sqrt(0.01 - (x - 1.0)), np.ones(2), direction=np.ones(2))  # fmt: skip
    assert report.ok
    assert "not finite" in str(report)


def test_no_right_gradient_is_called_wrong():
    rng = np.random.default_rng(0)
    for seed in range(30):
        n = int(rng.integers(1, 8))
        a, x = rng.standard_normal((n, n)) * 10 ** rng.uniform(-2, 2), rng.standard_normal(n) * 10 ** rng.uniform(-2, 2)
        off = 10 ** rng.uniform(-3, 6)
        waves = lambda x, a=a, off=off: np.sum(np.sin(a @ x)) + off
        powers = lambda x, off=off: np.sum(x**4) + off
        assert gf.taylor_test(waves, a.T @ np.cos(a @ x), x, seed=seed).verdict != "FAIL"
        assert gf.taylor_test(powers, 4.0 * x**3, x, seed=seed).verdict != "FAIL"


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"steps": [1e-2, 1e-3]}, ValueError, "steps: expected at least 3 different numbers, got 2"),
        ({"steps": [1e-2, 0.0, 1e-3]}, ValueError, "steps: expected a positive number"),
        ({"direction": np.zeros(6)}, ValueError, "direction: all of it is zero"),
        ({"direction": {"source": np.ones(3)}}, ValueError, "direction"),
        ({"hessian": np.eye(2)}, ValueError, r"hessian: expected a matrix of the shape \(6, 6\)"),
    ],
)
def test_arguments_that_do_not_fit(options, error, message):
    with pytest.raises(error, match=message):
        gf.taylor_test(loss, gradient, M, **options)


def test_nothing_of_the_user_is_changed():
    before = {name: array.copy() for name, array in M.items()}

    def writes(m):
        value = loss(m)
        m["source"][...] = 9.0
        return value

    assert gf.taylor_test(writes, gradient, M).ok
    assert all(np.array_equal(M[name], array) for name, array in before.items())


def test_it_is_saved_and_drawn(tmp_path):
    pyplot = pytest.importorskip("matplotlib.pyplot")
    report = gf.taylor_test(loss, gradient, M)
    figure = report.plot()
    assert [axes.get_xscale() for axes in figure.axes[:4]] == ["log"] * 4
    pyplot.close(figure)
    report.save(tmp_path / "report.json")
    saved = json.loads((tmp_path / "report.json").read_text(encoding="utf-8"))
    assert saved["verdict"] == "PASS"
    assert [order["expected_rate"] for order in saved["together"]["orders"]] == [1, 2]
    report.save(tmp_path / "report.html")
    page = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert page.startswith("<!DOCTYPE html>")
    assert "taylor_test: PASS" in page
    with pytest.raises(ValueError, match=r"\.html or \.json"):
        report.save(tmp_path / "report.txt")
