"""The lines of the user's source that a report shows: around diagnoses, and beside sensitivities."""

from __future__ import annotations

import dataclasses
import io
import json
import linecache
import os
import pickle
import runpy

import numpy as np
import pytest

import gradcheck_fast as gf
from gradcheck_fast.diagnosis.diagnose import Diagnosis
from gradcheck_fast.report.html import fragment
from gradcheck_fast.report.source import excerpts, in_text, listing, short_path
from gradcheck_fast.report.text import coloured, full_text

SOURCE = """\
import numpy as np


class Net:
    def loss(self, w):
        z = 2.0 * w
        # <a comment>
        a = np.tanh(z)
        return np.sum(a**2)
"""


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "net.py"
    path.write_text(SOURCE)
    return str(path)


@pytest.fixture
def loss(file):
    return runpy.run_path(file)["Net"]().loss


W = np.array([0.3, -0.7])


def failed(loss, lines):
    """A report with one diagnosis, of some lines."""
    report = gf.gradcheck(loss, np.array([1.0, 2.0]), W)
    return report.replaced(
        diagnoses=(Diagnosis("the slope is left out", "agrees to 1e-16", ("params",), tuple(lines)),)
    )


# ---- excerpts


def test_an_excerpt_has_two_lines_before_and_after(file):
    (excerpt,) = excerpts([(file, 6)])
    assert [row.number for row in excerpt.rows] == [4, 5, 6, 7, 8]
    assert [row.number for row in excerpt.rows if row.is_marked] == [6]
    assert [row.text for row in excerpt.rows][1:3] == ["    def loss(self, w):", "        z = 2.0 * w"]


def test_the_spaces_that_all_lines_begin_with_are_left_out(file):
    (excerpt,) = excerpts([(file, 8)])
    assert [row.text for row in excerpt.rows] == [
        "z = 2.0 * w", "# <a comment>", "a = np.tanh(z)", "return np.sum(a**2)"
    ]  # fmt: skip


def test_near_lines_are_shown_in_one_piece(file):
    (excerpt,) = excerpts([(file, 8), (file, 6), (file, 8)])
    assert [row.number for row in excerpt.rows if row.is_marked] == [6, 8]
    assert excerpt.rows[0].number == 4


def test_lines_far_apart_are_shown_apart(file):
    assert [excerpt.line for excerpt in excerpts([(file, 1), (file, 9)])] == [1, 9]


def test_lines_that_are_not_there_are_left_out(file):
    assert excerpts([(file, 0), (file, 99), ("<string>", 3), (os.path.join(file, "none.py"), 1)]) == []


def test_an_excerpt_as_text_looks_like_a_compilers(file, monkeypatch):
    monkeypatch.chdir(os.path.dirname(file))
    (excerpt,) = excerpts([(file, 8)])
    assert in_text(excerpt) == [
        "  --> net.py:8",
        "    6 | z = 2.0 * w",
        "    7 | # <a comment>",
        "  > 8 | a = np.tanh(z)",
        "    9 | return np.sum(a**2)",
    ]


def test_a_long_line_is_cut(tmp_path):
    path = tmp_path / "long.py"
    path.write_text("x = " + " + ".join(["1"] * 100) + "\n")
    assert in_text(excerpts([(str(path), 1)])[0])[1].endswith("…")


def test_a_path_is_short_inside_of_the_working_directory_only(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert short_path(str(tmp_path / "a" / "b.py")) == os.path.join("a", "b.py")
    assert short_path(os.path.abspath(os.sep + "other.py")) == os.path.abspath(os.sep + "other.py")
    assert short_path("<ipython-input-1>") == "<ipython-input-1>"


# ---- in reports


def test_the_text_shows_the_lines_of_a_diagnosis_below_it(loss, file):
    text = full_text(failed(loss, [(file, 8)]))
    assert text.endswith("  > 8 | a = np.tanh(z)\n    9 | return np.sum(a**2)")
    assert text.index("Most likely: the slope is left out") < text.index(f"  --> {short_path(file)}:8")


def test_a_diagnosis_without_lines_has_no_excerpt(loss):
    assert "-->" not in full_text(failed(loss, []))


def test_line_numbers_are_dim_in_colour(loss, file):
    text = coloured(failed(loss, [(file, 8)]))
    dim = [text.plain[span.start : span.end] for span in text.spans if span.style == "dim"]
    bold = [text.plain[span.start : span.end] for span in text.spans if span.style == "bold"]
    assert {"    7 |", f"  --> {short_path(file)}:8"} <= set(dim)
    assert "  > 8 | a = np.tanh(z)" in bold


def test_html_shows_the_lines_and_takes_no_source_for_markup(loss, file):
    html = fragment(failed(loss, [(file, 8)]))
    assert "<span class=marked><i>&gt;    8</i> a = np.tanh(z)</span>" in html
    assert "# &lt;a comment&gt;" in html
    assert "<a comment>" not in html


def test_json_has_the_places(loss, file, tmp_path):
    failed(loss, [(file, 8)]).save(tmp_path / "report.json")
    (diagnosis,) = json.loads((tmp_path / "report.json").read_text())["diagnoses"]
    assert diagnosis["lines"] == [{"file": file, "line": 8, "text": "a = np.tanh(z)"}]


# ---- the source of a traced loss


def test_the_lines_of_a_traced_loss_have_their_sensitivities(loss, file):
    lines = gf.gradcheck(loss, np.zeros(2), W).lines
    a = np.tanh(2.0 * W)
    assert [(line.file, line.line) for line in lines] == [(file, 6), (file, 8), (file, 9)]
    assert [line.sensitivity for line in lines] == pytest.approx(
        [np.abs(2 * a * (1 - a**2)).max(), 2 * a.max() if a.max() > -a.min() else -2 * a.min(), 1.0]
    )


def test_the_lines_are_found_when_they_are_asked_for_and_not_before(loss):
    report = gf.gradcheck(loss, np.zeros(2), W)
    assert "lines" not in vars(report)
    assert report.lines is report.lines


def test_only_a_traced_loss_has_lines(loss):
    assert gf.gradcheck(loss, np.zeros(2), W, trace=False).lines == ()
    net = gf.Network([gf.Dense(2, 1)], cost=gf.SquaredError())
    params = net.init(seed=0)
    assert gf.gradcheck(net.loss(np.ones((3, 2)), np.ones((3, 1))), params, params).lines == ()


def test_a_report_with_lines_can_be_pickled_and_changed(loss):
    report = gf.gradcheck(loss, np.zeros(2), W)
    assert pickle.loads(pickle.dumps(report)).lines == report.lines
    assert dataclasses.replace(report, notes=("a note",)).lines == report.lines


def test_without_source_the_steps_are_listed_in_place_of_it():
    space = {"np": np}
    exec("def loss(w):\n    return np.sum(np.tanh(w))", space)
    report = gf.gradcheck(space["loss"], np.ones(2), W)
    ((file, ((row, line),)),) = listing(report.lines)
    assert (file, row.text, line.steps) == ("", "tanh, sum", 2)
    assert ">tanh<" in fragment(report)


def test_of_a_file_that_no_longer_exists_the_numbers_are_listed(loss, file):
    report = gf.gradcheck(loss, np.ones(2), W)
    os.remove(file)
    linecache.clearcache()
    ((_, rows),) = listing(report.lines)
    assert [row for row, _ in rows] == [(6, "(multiply)", True), (8, "(tanh)", True), (9, "(square, sum)", True)]


def test_printing_does_not_look_for_lines(loss):
    report = gf.gradcheck(loss, np.ones(2), W)
    report.print(io.StringIO())
    str(report)
    report.to_dict()
    assert "lines" not in vars(report)
