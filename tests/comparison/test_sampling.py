"""gradcheck(sample=...): a random part of each array, entry by entry, and what that is worth."""

from __future__ import annotations

import copy
import json
import pickle
from concurrent.futures import ThreadPoolExecutor
from itertools import count

import networks
import numpy as np
import pytest
from networks import flat, make

import gradcheck_fast as gf
from gradcheck_fast.comparison.sampling import draw
from gradcheck_fast.engine import engine as methods
from gradcheck_fast.running.runner import Runner


@pytest.fixture(scope="module")
def case():
    return make(np.random.default_rng(0), [30, 20, 4], ["tanh", "identity"], samples=5)


@pytest.fixture
def check(case):
    loss = lambda p: networks.loss(case.net, p, case.X, case.y)
    return lambda gradient, **options: gf.gradcheck(loss, gradient, case.params, **options)


def counts(report):
    return {array.name: array.checked for array in report.arrays}


@pytest.mark.parametrize(
    ("sample", "expected"),
    [
        (7, (7, 20, 7, 4)),
        (100, (100, 20, 80, 4)),
        (10_000, (600, 20, 80, 4)),
        (0.1, (60, 20, 8, 4)),
        (1.0, (600, 20, 80, 4)),
    ],
)
def test_vectors_and_small_arrays_are_covered_in_full(check, case, sample, expected):
    report = check(case.gradient, sample=sample)
    assert report.ok
    assert tuple(counts(report).values()) == expected
    assert report.checked == sum(expected)
    assert [array.size for array in report.arrays] == [600, 20, 80, 4]
    known = [int((~np.isnan(array)).sum()) for array in report.numerical.values()]
    assert known == list(expected)


def test_a_draw_has_no_repetitions_and_depends_on_the_seed():
    shapes = {"a": (50, 40), "b": (7,), "c": (), "d": (0, 3)}
    one, same, other = (draw(shapes, 100, seed) for seed in (1, 1, 2))
    assert len(set(one.entries.tolist())) == 100 + 7 + 1
    assert one.entries.max() == 2007
    np.testing.assert_array_equal(one.entries, same.entries)
    assert not np.array_equal(one.entries, other.entries)


def test_every_entry_is_drawn_as_often_as_any_other():
    times = np.zeros(100)
    for seed in range(2000):
        times[draw({"a": (10, 10)}, 20, seed).entries] += 1
    assert times.min() > 320
    assert times.max() < 480  # 400 expected


def test_sampled_numbers_are_those_of_a_complete_check(check, case):
    part, complete = check(case.gradient, sample=50), check(case.gradient)
    for name, array in part.numerical.items():
        known = ~np.isnan(array)
        np.testing.assert_allclose(array[known], complete.numerical[name][known], rtol=1e-6, atol=1e-10)


@pytest.mark.parametrize(("sample", "probability"), [(7, 0.06793), (100, 0.5), (300, 0.95), (600, None)])
def test_what_would_have_been_seen(check, case, sample, probability):
    report = check(case.gradient, sample=sample)
    if probability is None:
        assert report.coverage == ""
        return
    assert "if 1 % or more of the entries of any array were wrong" in report.coverage
    stated = float(report.coverage.split(">= ")[1])
    fewest = min(array.checked for array in report.arrays if array.checked < array.size)
    assert 0 <= 1 - 0.99**fewest - stated < 1e-5
    assert report.coverage.capitalize()[:20] in str(report)


def test_one_percent_of_wrong_entries_is_seen_as_often_as_stated(check, case):
    wrong = copy.deepcopy(case.gradient)
    wrong["W1"].ravel()[[3, 77, 200, 201, 444, 590]] += 1.0  # 1 % of 600
    seen = sum(not check(wrong, sample=60, seed=seed).ok for seed in range(120))
    assert seen / 120 > 1 - 0.99**60 - 0.13  # three standard deviations


def test_wrong_entries_are_reported_where_they_are(check, case):
    wrong = copy.deepcopy(case.gradient)
    wrong["W1"] *= 2.0
    wrong["b1"][3] = 5.0
    report = check(wrong, sample=40)
    assert (report.verdict, report.wrong) == ("FAIL", 41)
    assert report.worst(1)[0][:3] == ("b1", (3,), 5.0)
    for entry in report.worst(1000):
        assert entry.analytic == wrong[entry.array][entry.index]
        assert entry.numerical == pytest.approx(case.gradient[entry.array][entry.index], rel=1e-5, abs=1e-9)
    assert len(report.worst(1000)) == report.checked
    assert "40 of 40" in str(report)
    assert any("the gradient of W1 is doubled" in found.cause for found in report.diagnoses)


def test_kinks_and_error_bars_go_with_samples():
    x = np.zeros((30, 10))
    x[::2] = 1.0
    report = gf.gradcheck(lambda p: float(np.abs(p).sum()), np.sign(x), x, sample=100, error_bars=True)
    (array,) = report.arrays
    assert report.ok
    assert 20 < array.at_kink < 80
    assert np.isfinite(report.error_bars).sum() == 100


def test_evaluations_are_saved(case):
    calls = []
    loss = lambda p: calls.append(1) or float(np.sum(np.sin(p)))
    x = np.linspace(0.0, 1.0, 10_000).reshape(100, 100)
    assert gf.gradcheck(loss, np.cos(x), x, sample=50).ok
    assert len(calls) < 8 * 50


def test_report_as_json_html_and_pickle(check, case, tmp_path):
    wrong = copy.deepcopy(case.gradient)
    wrong["W1"] += 1.0
    report = check(wrong, sample=10)
    as_dict = report.to_dict()
    assert json.loads(json.dumps(as_dict)) == as_dict
    assert (as_dict["arrays"][0]["checked"], as_dict["arrays"][0]["size"]) == (10, 600)
    report.save(tmp_path / "report.html")
    assert "10 of 10" in (tmp_path / "report.html").read_text(encoding="utf-8")
    assert str(pickle.loads(pickle.dumps(report))) == str(report)


def test_a_gradient_of_nan(check, case):
    wrong = {**case.gradient, "b1": np.full(20, np.nan)}
    assert check(wrong, sample=5).wrong == 20


@pytest.mark.parametrize("sample", [0, -3, 1.5, 0.0, -0.1, np.nan, "5", True, [1]], ids=repr)
def test_samples_that_are_none(check, case, sample):
    with pytest.raises((TypeError, ValueError), match="sample: expected"):
        check(case.gradient, sample=sample)


def test_small_arrays_and_biases_of_any_form_are_covered_in_full():
    shapes = {"W": (50, 40), "V": (5, 4, 3), "row": (1, 90), "column": (90, 1), "b": (90,), "s": ()}
    for sample in (5, 0.001):
        full = {"V": 60, "row": 90, "column": 90, "b": 90, "s": 1}
        assert draw(shapes, sample, 0).counts == {"W": 5 if sample == 5 else 2, **full}


def test_one_vector_of_all_parameters_is_drawn_from():
    x = np.linspace(0.0, 1.0, 1000)
    report = gf.gradcheck(lambda p: float(np.sum(np.sin(p))), np.cos(x), x, sample=50)
    assert (report.ok, report.checked) == (True, 50)
    assert report.coverage


def test_nan_in_the_gradient_is_wrong_wherever_it_is(check, case):
    wrong = copy.deepcopy(case.gradient)
    wrong["W1"][3, [4, 5]] = np.nan, np.inf
    for seed in range(3):
        report = check(wrong, sample=10, seed=seed)
        assert (report.verdict, report.wrong) == ("FAIL", 2)
        assert {entry.index for entry in report.worst(2)} == {(3, 4), (3, 5)}
        assert np.isnan(report.relative_error)
        assert np.isnan(report.arrays[0].relative_error)


def test_a_checkpoint_of_another_sample_is_refused(tmp_path):
    """Where parameters are the same, nothing else tells other entries apart."""
    x, weights = np.zeros((20, 30)), np.arange(1.0, 601.0).reshape(20, 30)
    check = lambda **options: gf.gradcheck(
        lambda p: float(np.sum(np.sin(p) * weights)), weights, x, checkpoint=tmp_path / "run.npz", **options
    )
    assert check(sample=10).ok
    for other in ({"sample": 10, "seed": 1}, {"sample": 11}, {}):
        with pytest.raises(ValueError, match="with another sample"):
            check(**other)
    assert check(sample=10).ok


def test_a_share_may_be_any_float_of_numpy(check, case):
    assert counts(check(case.gradient, sample=np.float32(0.25))) == counts(check(case.gradient, sample=0.25))


# ---- networks


def rectified(samples=37):
    """A network with inputs of very different sizes, values on kinks, and a penalty; its loss and parameters."""
    random = np.random.default_rng(3)
    net = gf.Network(
        [gf.Dense(12, 70, "relu"), gf.Dense(70, 9, "gelu"), gf.Dense(9, 4)], cost=gf.CrossEntropy(), penalty=gf.L2(0.1)
    )
    X = random.normal(size=(samples, 12)) * 10.0 ** random.integers(-4, 4, size=12)
    X[:3] = 0.0
    return net.loss(X, random.integers(4, size=samples)), {**net.init(3), "b1": np.zeros(70)}


def recurrent():
    random = np.random.default_rng(4)
    net = gf.Network([gf.LSTM(5, 20, peepholes=True), gf.Dense(20, 3)], cost=gf.SquaredError())
    return net.loss(random.normal(size=(3, 6, 5)), random.normal(size=(3, 3))), net.init(4)


@pytest.mark.parametrize("step", [None, 1e-5, 1e-3])
@pytest.mark.parametrize("method", ["units", "incremental", "chain", "direct"])
@pytest.mark.parametrize("make_loss", [rectified, recurrent])
def test_sampled_numbers_of_a_network_are_those_of_a_complete_check_to_the_last_bit(make_loss, method, step):
    loss, params = make_loss()
    gradient = gf.numerical_gradient(loss, params)
    complete = gf.gradcheck(loss, gradient, params, method=method, step=step)
    part = gf.gradcheck(loss, gradient, params, method=method, step=step, sample=50)
    assert part.ok == complete.ok
    assert part.checked < complete.checked
    for name, array in part.numerical.items():
        known = ~np.isnan(array)
        np.testing.assert_array_equal(array[known], complete.numerical[name][known])


@pytest.mark.parametrize("method", ["units", "incremental", "chain", "direct"])
def test_kinks_at_sampled_entries_are_those_of_a_complete_run(method):
    loss, params = rectified()
    at, entries = loss.pack(params), draw(loss.network.shapes, 50, 0).entries
    with Runner(1) as runner:
        run = lambda **some: loss.central_differences(at, method=method, step=1e-3, runner=runner, kinks=True, **some)
        complete, part = run().kinks, run(entries=entries).kinks
    assert part.where.any()
    np.testing.assert_array_equal(part.low, complete.low[entries])
    np.testing.assert_array_equal(part.high, complete.high[entries])


def test_the_result_does_not_depend_on_chunks_and_workers(monkeypatch):
    loss, params = rectified()
    gradient = gf.numerical_gradient(loss, params)
    check = lambda loss, **options: flat(
        gf.gradcheck(loss, gradient, params, method=options.pop("method"), sample=50, **options).numerical
    )
    expected = {method: check(loss, method=method) for method in ("incremental", "direct")}
    monkeypatch.setattr(methods, "FEWEST_SAMPLES", 8)
    monkeypatch.setattr(methods, "CHUNK_DOUBLES", 1)
    with ThreadPoolExecutor(2) as executor:
        for method, numbers in expected.items():
            np.testing.assert_array_equal(check(loss, method=method, executor=executor), numbers)
            np.testing.assert_allclose(check(rectified()[0], method=method), numbers, rtol=1e-9, atol=1e-11)


@pytest.mark.parametrize("method", ["incremental", "direct"])
def test_only_drawn_parameters_of_a_network_are_perturbed(method):
    loss, _ = rectified()
    entries = draw(loss.network.shapes, 20, 0).entries
    part = len(entries) / sum(map(np.prod, loss.network.shapes.values()))
    work = loss._engine.work(method, entries) / loss._engine.work(method)
    assert part < 0.2
    assert work == pytest.approx(part, rel=0.5)


def test_auto_perturbs_units_unless_the_drawn_parameters_are_less_work():
    (dense, params), (lstm, weights) = rectified(), recurrent()
    method = lambda loss, params, **some: gf.gradcheck(loss, gf.numerical_gradient(loss, params), params, **some).method
    assert method(dense, params, sample=600) == "units"
    assert method(lstm, weights) == "units"
    assert method(lstm, weights, sample=1) == "incremental"


@pytest.mark.parametrize("method", ["units", "incremental", "chain", "direct"])
def test_wrong_entries_of_a_network_s_gradient(method):
    loss, params = recurrent()
    gradient = gf.numerical_gradient(loss, params)
    gradient["Wh1"] *= 2.0
    report = gf.gradcheck(loss, gradient, params, method=method, sample=100)
    assert (report.verdict, report.wrong) == ("FAIL", 100)
    assert any("the gradient of Wh1 is doubled" in found.cause for found in report.diagnoses)


def test_a_longer_way_is_not_recommended(monkeypatch):
    """With few entries drawn, it is not what finds all entries at once that takes less."""
    loss, _ = recurrent()
    assert "method='chain'" in loss.faster("direct", 100.0)
    assert "method='incremental'" in loss.faster("direct", 100.0, np.arange(3))


def test_a_float32_gradient_of_a_function_is_judged_by_its_rounding(case):
    """Digits that cancel are told from mistakes by the same gradient in float64, with a sample, too."""
    weights = np.linspace(1.0, 2.0, 200)

    def gradient(params):
        x = params["w"]
        return {"w": weights.astype(x.dtype) * ((np.cos(x) + x.dtype.type(1e4)) - x.dtype.type(1e4))}

    params = {"w": np.linspace(0.0, 1.0, 200, dtype=np.float32)}
    loss = lambda p: float(weights @ np.sin(p["w"]))
    assert gf.gradcheck(loss, gradient(params), params, sample=50).wrong
    report = gf.gradcheck(loss, gradient, params, sample=50)
    assert (report.wrong, report.checked) == (0, 50)


def test_complex_steps_for_a_sample():
    x = np.linspace(0.0, 1.0, 1000)
    seen = count()  # complex steps leave lists as they were
    loss = lambda p: np.sum(np.sin(p)) + 0.0 * (p.dtype.kind == "c" and next(seen))
    report = gf.gradcheck(loss, np.cos(x), x, method="complex", sample=50)
    assert (report.ok, report.method, report.checked) == (True, "complex", 50)
    assert next(seen) == 50


def test_a_step_that_is_lost_is_lost_in_a_parameter_with_a_name():
    params = {"a": np.ones(5), "w": np.ones(1000)}
    params["w"][777] = 1e20
    loss = lambda p: np.sum(p["a"]) + np.sum(p["w"])
    for some in ({}, {"sample": 900}):
        with pytest.raises(ValueError, match=r"step: 0.001 is lost in w\[777\] = 1e\+20; use a larger step"):
            gf.gradcheck(loss, params, params, step=1e-3, seed=4, **some)
