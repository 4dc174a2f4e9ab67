"""The report: readable, complete, and of use to programs."""

from __future__ import annotations

import copy
import dataclasses
import io
import json

import numpy as np
import pytest
from networks import make

import gradcheck_fast as gf
from gradcheck_fast.diagnosis.diagnose import Diagnosis
from gradcheck_fast.report.text import short_text


@pytest.fixture
def case():
    return make(np.random.default_rng(0), [3, 4, 2], ["tanh", "identity"], "squared", "batchmean")


@pytest.fixture
def good(case):
    return gf.gradcheck(case.loss, case.gradient, case.params)


@pytest.fixture
def bad(case):
    """W2[3, 1] is off by much, b1[2] by little, all else is right."""
    wrong = copy.deepcopy(case.gradient)
    wrong["W2"][3, 1] = -1234.5
    wrong["b1"][2] *= 1.001
    return gf.gradcheck(case.loss, wrong, case.params)


@pytest.fixture
def told(bad):
    """The report of `bad`, with a note, two diagnoses, an entry at a kink and two inconclusive ones."""
    return dataclasses.replace(
        bad,
        notes=("your loss is 2, the network's is 1 " + "and so on " * 20,),
        diagnoses=(
            Diagnosis("the gradient of W2 is off", "one entry of 8", ("W2",)),
            Diagnosis("the gradient of b1 is scaled", "by 1.001", ("b1",)),
        ),
        arrays=tuple(
            dataclasses.replace(a, at_kink=int(a.name == "W1"), inconclusive=2 * (a.name == "b2")) for a in bad.arrays
        ),
    )


# ---- what it says to a program


def test_verdict(good, bad):
    assert (good.ok, good.verdict, bool(good)) == (True, "PASS", True)
    assert (bad.ok, bad.verdict, bool(bad)) == (False, "FAIL", False)


def test_counts(good, bad):
    assert (good.checked, good.wrong) == (26, 0)
    assert (bad.checked, bad.wrong) == (26, 2)
    assert [array.wrong for array in bad.arrays] == [0, 1, 1, 0]
    assert [array.size for array in bad.arrays] == [12, 4, 8, 2]


def test_arrays_are_named_and_shaped_as_the_parameters(good, case):
    assert {array.name: array.shape for array in good.arrays} == case.net.shapes
    assert [array.name for array in good.arrays] == list(case.net.shapes)


def test_errors_of_each_array(bad):
    for array in bad.arrays:
        a, n = bad.analytic[array.name], bad.numerical[array.name]
        assert array.relative_error == pytest.approx(gf.relative_error(a, n), rel=1e-12)
        assert array.largest_error == np.abs(a - n).max()


def test_relative_error_of_the_whole(good, bad):
    for report in (good, bad):
        assert report.relative_error == pytest.approx(gf.relative_error(report.analytic, report.numerical), rel=1e-12)
    assert good.relative_error < 1e-14


def test_gradients_are_trees_like_the_params(case):
    gradient = [case.gradient[name] for name in case.net.shapes]
    report = gf.gradcheck(case.loss, gradient, {"x": case.params["W1"], "y": list(case.params.values())[1:]})
    for tree in (report.analytic, report.numerical):
        assert list(tree) == ["x", "y"]
        assert [array.shape for array in (tree["x"], *tree["y"])] == list(case.net.shapes.values())
    np.testing.assert_array_equal(report.analytic["y"][1], case.gradient["W2"])
    np.testing.assert_allclose(report.numerical["y"][1], case.gradient["W2"], rtol=1e-12)


def test_how_it_was_found(case):
    report = gf.gradcheck(case.loss, case.gradient, case.params, method="incremental", step=1e-5)
    assert (report.method, report.step) == ("incremental", 1e-5)
    assert gf.gradcheck(case.loss, case.gradient, case.params).method in ("units", "incremental")
    direct = gf.gradcheck(case.loss, case.gradient, case.params, method="direct")
    assert (direct.method, direct.step) == ("direct", None)
    assert 0 < direct.seconds < 60


# ---- the worst entries


def test_worst_entries_come_worst_first(bad, case):
    first, second = bad.worst(2)
    assert first == ("W2", (3, 1), -1234.5, bad.numerical["W2"][3, 1])
    assert second == ("b1", (2,), case.gradient["b1"][2] * 1.001, bad.numerical["b1"][2])
    assert bad.worst() == [first]
    assert (first.array, first.index, first.analytic) == ("W2", (3, 1), -1234.5)


@pytest.mark.parametrize(("k", "entries"), [(0, 0), (-1, 0), (1, 1), (26, 26), (1000, 26)])
def test_worst_gives_as_many_as_there_are(bad, k, entries):
    assert len(bad.worst(k)) == entries
    assert len({entry[:2] for entry in bad.worst(k)}) == entries


def test_worst_of_scalars_and_empty_arrays():
    params = {"none": np.empty((0, 2)), "a": 1.0, "b": np.ones((1, 2))}
    gradient = {"none": np.empty((0, 2)), "a": 3.0, "b": np.array([[1.0, 9.0]])}
    report = gf.gradcheck(lambda p: 3 * p["a"] + p["b"].sum(), gradient, params)
    assert report.worst(1)[0][:3] == ("b", (0, 1), 9.0)
    assert {entry[:2] for entry in report.worst(3)} == {("a", ()), ("b", (0, 0)), ("b", (0, 1))}


def test_nan_is_worse_than_anything():
    report = gf.gradcheck(lambda p: p.sum(), np.array([1e300, np.nan, 1.0]), np.ones(3))
    assert report.worst(1)[0].index == (1,)


# ---- raise_if_failed


def test_raise_if_failed(good, bad):
    assert good.raise_if_failed() is None
    with pytest.raises(gf.GradientError) as caught:
        bad.raise_if_failed()
    assert str(caught.value) == str(bad)
    assert issubclass(gf.GradientError, AssertionError)


# ---- what it says to a person


def line_of(text, name):
    return next(line for line in text.splitlines() if line.startswith(name))


def test_text_of_a_pass(good):
    text = str(good)
    assert "PASS" in text.splitlines()[0]
    assert "FAIL" not in text
    assert "<--" not in text
    assert "26 entries" in text
    for name, shape in [("W1", "3x4"), ("b1", "4"), ("W2", "4x2"), ("b2", "2")]:
        assert shape in line_of(text, name).split()
    assert line_of(text, "W1").endswith("0 of 12")
    assert "0 of 26" in line_of(text, "total")


def test_text_of_a_failure_points_at_the_arrays_and_entries(bad):
    text = str(bad)
    assert "FAIL" in text.splitlines()[0]
    assert "W2" in text.splitlines()[0]
    assert "b1" in text.splitlines()[0]
    assert [name for name in ("W1", "b1", "W2", "b2") if "<--" in line_of(text, name)] == ["b1", "W2"]
    assert "1 of 8" in line_of(text, "W2")
    worst = line_of(text, "W2[3, 1]")
    assert "-1234.5" in worst
    assert f"{bad.numerical['W2'][3, 1]:.10g}"[:10] in worst
    assert text.index("W2[3, 1]") < text.index("b1[2]")
    assert "W1[" not in text
    assert "2 of 26" in text


def test_text_shows_few_entries_however_many_are_wrong(case):
    wrong = {name: -array for name, array in case.gradient.items()}
    text = str(gf.gradcheck(case.loss, wrong, case.params))
    assert "26 of 26" in text
    assert text.count("[") == 5


def test_text_fits_a_screen(bad):
    lines = str(bad).splitlines()
    assert max(map(len, lines)) <= 100
    assert all(line == line.rstrip() for line in lines)
    head, *rows = [line for line in lines if line.startswith(("array", "W1", "b1", "W2", "b2", "total"))][:6]
    columns = [head.index("relative error") + len("relative error"), head.index("largest error") + len("largest error")]
    for row in rows[:4]:
        for column in columns:
            assert row[column - 1].isdigit()  # numbers end under the end of their heading
            assert row[column] == " "


def test_text_says_method_and_step(case):
    text = str(gf.gradcheck(case.loss, case.gradient, case.params, method="units", step=0.25))
    assert "units" in text
    assert "0.25" in text
    assert "direct" in str(gf.gradcheck(case.loss, case.gradient, case.params, method="direct"))


def test_text_of_nan(case):
    wrong = copy.deepcopy(case.gradient)
    wrong["b2"][0] = np.nan
    text = str(gf.gradcheck(case.loss, wrong, case.params))
    assert "nan" in line_of(text, "b2[0]")
    assert "1 of 2" in line_of(text, "b2")


def test_text_of_a_scalar():
    text = str(gf.gradcheck(lambda x: x**2, 5.0, 1.5))
    assert "scalar" in line_of(text, "params")
    assert "params[]" in text


def test_text_of_many_arrays_names_some_of_the_wrong_ones():
    params = [np.ones(1)] * 20
    text = str(gf.gradcheck(lambda p: sum(a.sum() for a in p), [np.zeros(1)] * 20, params))
    assert "and 15 more" in text.splitlines()[0]


def test_repr_is_one_line(good, bad):
    assert "PASS" in repr(good)
    assert "FAIL" in repr(bad)
    assert "2 of 26" in repr(bad)
    assert "\n" not in repr(bad)


def test_notes_come_first_and_diagnoses_last(told):
    text = str(told)
    assert text.startswith("Note: your loss is 2, the network's is 1 and so on")
    assert text.index("Note:") < text.index("gradcheck: FAIL") < text.index("worst") < text.index("Most likely:")
    assert text.endswith(
        "\n\nMost likely: the gradient of W2 is off\n  one entry of 8\n\nAlso: the gradient of b1 is scaled\n  by 1.001"
    )
    assert max(map(len, text.splitlines())) <= 100


def test_columns_of_kinks_and_inconclusive_entries_are_there_only_if_needed(told, bad):
    head = line_of(str(told), "array")
    assert head.endswith("at kinks   inconclusive")
    assert "kinks" not in str(bad)
    assert "inconclusive" not in str(bad)
    assert line_of(str(told), "W1").split()[-2:] == ["1", "0"]
    assert line_of(str(told), "b2").split()[-2:] == ["0", "2"]
    assert line_of(str(told), "total").split()[-2:] == ["1", "2"]
    assert line_of(str(told), "W2").endswith("<--")


def test_short_text_leaves_out_right_arrays_only(told, bad):
    short = short_text(told)
    assert [name for name in ("W1", "b1", "W2", "b2") if f"\n{name} " in short] == ["b1", "W2", "b2"]
    assert [line for line in str(bad).splitlines() if not line.startswith(("W1 ", "b2 "))] == short_text(bad).split(
        "\n"
    )


# ---- printed


class Terminal(io.StringIO):
    def isatty(self):
        return True


@pytest.fixture
def terminal(monkeypatch):
    for name in ("NO_COLOR", "FORCE_COLOR", "TTY_COMPATIBLE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("TERM", "xterm-256color")
    return Terminal()


def test_print_is_coloured_on_a_terminal_and_plain_elsewhere(told, terminal, capsys):
    told.print(terminal)
    assert "\x1b[1;31mgradcheck: FAIL\x1b[0m" in terminal.getvalue()
    told.print()
    assert capsys.readouterr().out == f"{told}\n"


def test_print_respects_no_color(told, terminal, monkeypatch):
    monkeypatch.setenv("NO_COLOR", "1")
    told.print(terminal)
    assert "\x1b[3" not in terminal.getvalue()


def test_colours_change_no_word(told, good, terminal):
    from rich.text import Text

    for report in (told, good):
        terminal.seek(terminal.truncate(0))
        report.print(terminal)
        assert Text.from_ansi(terminal.getvalue()).plain == f"{report}\n"


def test_names_that_look_like_markup_are_printed_as_they_are(capsys):
    report = gf.gradcheck(
        lambda p: p["[bold]x[/bold] :smile:"] ** 2, {"[bold]x[/bold] :smile:": 2.0}, {"[bold]x[/bold] :smile:": 1.0}
    )
    report.print()
    assert capsys.readouterr().out == f"{report}\n"


# ---- saved


def test_save_by_suffix(told, tmp_path):
    told.save(tmp_path / "report.html")
    assert (tmp_path / "report.html").read_text(encoding="utf-8").startswith("<!DOCTYPE html>")
    told.save(str(tmp_path / "report.JSON"))
    assert json.loads((tmp_path / "report.JSON").read_text()) == told.to_dict()


def test_saved_json_has_no_nan(case, tmp_path):
    wrong = copy.deepcopy(case.gradient)
    wrong["b2"][0] = np.nan
    gf.gradcheck(case.loss, wrong, case.params).save(tmp_path / "report.json")
    not_json = lambda name: pytest.fail(f"{name} is not JSON")
    report = json.loads((tmp_path / "report.json").read_text(), parse_constant=not_json)
    assert report["worst"][0]["analytic"] == "nan"


@pytest.mark.parametrize("name", ["report.pdf", "report", ".html"])
def test_another_suffix_is_an_error_that_lists_what_is_possible(good, tmp_path, name):
    with pytest.raises(ValueError, match=rf"\.html or \.json, got '.*{name}'"):
        good.save(tmp_path / name)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("suffix", ["html", "json"])
def test_a_path_that_cannot_be_written_is_named(good, tmp_path, suffix):
    with pytest.raises(OSError, match=f"nowhere/report.{suffix}"):
        good.save(tmp_path / "nowhere" / f"report.{suffix}")
    (tmp_path / f"folder.{suffix}").mkdir()
    with pytest.raises(OSError, match=f"folder.{suffix}"):
        good.save(tmp_path / f"folder.{suffix}")


# ---- to_dict


def test_to_dict_has_notes_diagnoses_and_counts(told):
    again = json.loads(json.dumps(told.to_dict()))
    assert again["notes"] == list(told.notes)
    assert again["diagnoses"][0] == {
        "cause": "the gradient of W2 is off", "evidence": "one entry of 8", "arrays": ["W2"], "lines": []
    }  # fmt: skip
    assert [row["status"] for row in again["arrays"]] == ["right", "wrong", "wrong", "inconclusive"]
    assert [(row["at_kink"], row["inconclusive"]) for row in again["arrays"]] == [(1, 0), (0, 0), (0, 0), (0, 2)]


def test_to_dict_is_plain_json(bad):
    as_dict = bad.to_dict()
    again = json.loads(json.dumps(as_dict))
    assert again == as_dict
    assert (again["ok"], again["verdict"], again["checked"], again["wrong"]) == (False, "FAIL", 26, 2)
    assert (again["method"], again["step"]) == (bad.method, bad.step)
    assert [row["name"] for row in again["arrays"]] == ["W1", "b1", "W2", "b2"]
    assert again["arrays"][2]["shape"] == [4, 2]
    assert again["arrays"][2]["wrong"] == 1
    assert again["arrays"][2]["largest_error"] == bad.arrays[2].largest_error
    assert again["worst"][0] == {
        "array": "W2", "index": [3, 1], "analytic": -1234.5, "numerical": bad.numerical["W2"][3, 1]
    }  # fmt: skip


@pytest.mark.parametrize("k", [0, 1, 5, 26])
def test_to_dict_lists_the_worst(bad, k):
    worst = bad.to_dict(worst=k)["worst"]
    assert [(row["array"], tuple(row["index"])) for row in worst] == [entry[:2] for entry in bad.worst(k)]
    assert len(worst) == k


def test_to_dict_of_nan_and_of_nothing():
    for report in (gf.gradcheck(lambda x: 1.0 if x == 1.0 else np.nan, 1.0, 1.0), gf.gradcheck(lambda p: 1.0, {}, {})):
        assert json.loads(json.dumps(report.to_dict()))["ok"] is False


def test_report_cannot_be_changed(good):
    with pytest.raises(AttributeError):
        good.ok = False
