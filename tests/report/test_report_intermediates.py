"""What a report says of the user's own intermediates."""

from __future__ import annotations

import json

import numpy as np
import pytest

import gradcheck_fast as gf
from gradcheck_fast.diagnosis.intermediates.results import IntermediateResult
from gradcheck_fast.report.html import fragment
from gradcheck_fast.report.intermediates import first_wrong, in_text, places, rows, summary
from gradcheck_fast.report.text import coloured, full_text


def result(name, status, step, **more):
    known = {"line": step, "variable": name[1:], "factor": 1.0, "how": "", "relative_error": 1e-16, "file": "/a/net.py",
             "text": f"{name[1:]} = …"}  # fmt: skip
    return IntermediateResult(name=name, status=status, step=step, **(known | more))


RIGHT = (result("dz2", "right", 30, factor=32.0, how="times N = 32"), result("da1", "right", 20))
WRONG = (*RIGHT, result("dz1", "wrong", 12, relative_error=0.5), result("dx", "wrong", 3, relative_error=0.4))


def test_the_first_wrong_one_is_the_nearest_to_the_loss():
    assert first_wrong(WRONG).name == first_wrong(WRONG[::-1]).name == "dz1"
    assert first_wrong(RIGHT) is None
    assert places(WRONG) == [("/a/net.py", 12)]
    assert places(RIGHT) == []


def test_a_sentence_names_it_with_its_line_and_what_is_right_above():
    assert summary(WRONG) == (
        "dz1 is the first of your intermediates that is wrong: net.py line 12, `z1 = …`; dz2, da1 above it are right "
        "(dz2 times N = 32)"
    )
    assert summary(RIGHT) == ""


def test_what_could_not_be_compared_above_is_said():
    unknown = result("dq", "unknown", -1, line=0), result("dk", "unknown", 15), result("dy", "unknown", 2)
    assert summary((*WRONG, *unknown)).endswith("; dq, dk could not be compared")


def test_rows_of_the_table():
    unknown = result("dq", "unknown", -1, line=0, variable="", relative_error=np.nan, how="no such shape")
    assert rows((WRONG[0], WRONG[2], unknown)) == [
        ("dz2", "z2", "net.py 30", "1.0e-16", "right", "times N = 32"),
        ("dz1", "z1", "net.py 12", "5.0e-01", "wrong", ""),
        ("dq", "", "", "", "unknown", "no such shape"),
    ]
    text = in_text(WRONG)
    assert text[0].split() == ["intermediate", "variable", "line", "relative", "error", "status"]
    assert [line.endswith("<--") for line in text[1:]] == [False, False, True, True]


X = np.random.default_rng(3).standard_normal((8, 3))


def loss(w):
    z = X @ w
    a = np.tanh(z)
    return np.sum(a**2)


@pytest.fixture
def report():
    w = np.random.default_rng(0).standard_normal((3, 2))
    da = 2.0 * np.tanh(X @ w)
    return gf.gradcheck(loss, X.T @ da, w, intermediates={"da": da, "dz": da})


def test_the_text_has_the_table_the_sentence_and_the_line(report):
    text = full_text(report)
    line = loss.__code__.co_firstlineno + 1
    assert "dz is the first of your intermediates that is wrong: test_report_intermediates.py line" in text
    assert "da above it is right." in " ".join(text.split())
    assert f"  > {line} |     z = X @ w" in text
    red = [s for s in coloured(report).spans if s.style == "red"]
    assert any(coloured(report).plain[s.start : s.end].startswith("dz ") for s in red)


def test_html_has_the_table_and_the_sentence(report):
    html = fragment(report)
    assert "<h3>Your intermediates</h3>" in html
    assert "dz is the first of your intermediates that is wrong" in html
    assert '<span class="badge right">right</span>' in html
    assert '<span class="badge wrong">wrong</span>' in html


def test_json_has_all_of_it(report, tmp_path):
    report.save(tmp_path / "report.json")
    found = json.loads((tmp_path / "report.json").read_text())["intermediates"]
    assert [(row["name"], row["status"], row["variable"]) for row in found] == [
        ("da", "right", "a"),
        ("dz", "wrong", "z"),
    ]


def test_a_report_without_intermediates_says_nothing_of_them():
    report = gf.gradcheck(loss, np.zeros((3, 2)), np.ones((3, 2)))
    assert report.intermediates == ()
    assert "intermediate" not in full_text(report)
    assert "Your intermediates" not in fragment(report)
