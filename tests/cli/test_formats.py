"""What is written for other programs about many files."""

import json
from xml.etree import ElementTree

import pytest

from gradcheck_fast.cli import formats
from gradcheck_fast.cli.outcome import Outcome, not_checked, printable
from gradcheck_fast.cli.targets import Target, collect, has_nothing, split

WRONG = Outcome("a.py", "a.py", "FAIL", "1 of 3 entries are wrong", causes=("sign",), place=("a.py", 7), defined=3)


@pytest.mark.parametrize("text", ["100 % of a:b,c", "two\nlines\r", "::error::mine"])
def test_annotations_are_escaped(text, tmp_path):
    outcome = Outcome(text, f"{tmp_path}/a,b:c%.py", "NOT CHECKED", text)
    (line,) = formats.github([outcome], {"GITHUB_WORKSPACE": str(tmp_path)})
    properties, message = line.removeprefix("::error ").split("::", 1)
    assert properties == "file=a%2Cb%3Ac%25.py,title=gradcheck%3A NOT CHECKED"
    assert "\n" not in message
    assert "\r" not in message
    assert message.replace("%0A", "\n").replace("%0D", "\r").replace("%25", "%") == text


def test_annotations_are_at_the_mistake_or_else_where_the_gradient_is_defined():
    undiagnosed = Outcome("b.py", "b.py", "FAIL", "wrong", defined=3)
    elsewhere = Outcome("c.py", "c.py", "FAIL", "wrong", causes=("sign", "the first line"), place=("layers.py", 9))
    right = Outcome("d.py", "d.py", "PASS", "every entry agrees")
    lines = formats.github([WRONG, undiagnosed, elsewhere, right], {})
    assert [line.partition(",title")[0] for line in lines] == [
        "::error file=a.py,line=7",
        "::error file=b.py,line=3",
        "::error file=layers.py,line=9",
    ]
    assert lines[0].endswith("::1 of 3 entries are wrong; most likely: sign")
    assert lines[2].endswith("::c.py: wrong; most likely: sign%0Athe first line")


def test_text_of_users_gives_no_commands():
    text = formats.without_commands("::error::mine")
    stop, inside, go = text.splitlines()
    assert inside == "::error::mine"
    assert stop == f"::stop-commands::{go.strip(':')}"


def test_junit_takes_any_text():
    text = "<&>\x00\x1b[31m\ud800]]>"
    outcome = Outcome.from_json(not_checked(Target(split("a.py").file), text, text=text).to_json())
    (case,) = ElementTree.fromstring(formats.junit([outcome], 0.0)).iter("testcase")
    assert case[0].text == "<&>\\x00\\x1b[31m\\ud800]]>"


def test_an_outcome_survives_the_way_from_another_process():
    assert Outcome.from_json(WRONG.to_json()) == WRONG
    written = json.loads(formats.as_json([WRONG], 1.0, 1))
    assert written["verdicts"]["FAIL"] == 1
    assert written["files"][0]["place"] == {"file": "a.py", "line": 7}


def test_a_long_text_is_shortened():
    text = printable("begin" + "x" * 10_000_000 + "end")
    assert len(text) < 30_000
    assert text.startswith("begin")
    assert text.endswith("end")
    assert "characters are left out" in text


@pytest.mark.parametrize(
    ("text", "nothing"),
    [
        ("loss = 3\n", True),
        ("loss = 3\nparams = 2\n", False),
        ("from mine import *\n", False),
        ("def loss(): pass\nfrom x import gradient\n", False),
        ("def f():\n    loss = params = gradient = 3\n", True),
        ("if True:\n    loss, gradient, params = 1, 2, 3\n", False),
        ("loss = = 3\n", False),
        ("", True),
    ],
)
def test_a_file_of_a_directory_has_nothing_to_check_if_its_text_shows_that(text, nothing, tmp_path):
    (tmp_path / "a.py").write_text(text)
    (target,) = collect([str(tmp_path)])
    assert has_nothing(target) is nothing
    assert not has_nothing(Target(tmp_path / "a.py"))


def test_each_file_is_found_once_in_sorted_order(tmp_path):
    for name in ("b.py", "a.py", "c.txt", "venv/pyvenv.cfg", "venv/x.py", "__pycache__/x.py", "d/e.py"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    found = collect([str(tmp_path / "b.py"), str(tmp_path), str(tmp_path / "b.py:name")])
    assert [str(target)[len(str(tmp_path)) + 1 :] for target in found] == ["b.py", "a.py", "d/e.py", "b.py:name"]
    assert [target.is_found for target in found] == [False, True, True, False]
