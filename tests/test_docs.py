"""Every block of code in README and in the documentation runs, and prints what stands beneath it."""

from __future__ import annotations

import importlib
import re
import runpy
import shutil
import subprocess
import sys
from pathlib import Path

import documents
import pytest
from documents import ROOT

import gradcheck_fast as gf
from gradcheck_fast.cli.main import main
from gradcheck_fast.frontends.network.costs import Cost
from gradcheck_fast.frontends.network.layers import activations

PAGES = sorted(path.relative_to(ROOT).as_posix() for path in (ROOT / "README.md", *ROOT.glob("docs/**/*.md")))
#: Pages that take longer than a test of the default suite may.
LONG = {
    "README.md",
    "docs/examples.md",
    "docs/guides/c-and-embedded.md",
    "docs/guides/jax.md",
    "docs/guides/many-parameters.md",
    "docs/guides/scikit-learn.md",
}
#: What the prose of a page asks the reader to change in `net.py` before the k-th block of a console.
EDITS = {"docs/start.md": {2: ("(1 - a1)", "(1 - a1**2)")}}
#: Pages that show what other files print: a test below is about each of these.
SHOWN_ELSEWHERE = {
    "docs/guides/c-and-embedded.md",
    "docs/guides/teacher.md",
    "docs/index.md",
    "docs/kinks.md",
    "docs/tables.md",
}
KINKS = """
import numpy as np
def loss(p):
    z = np.maximum(p["x"], 0)
    return z.sum()
params = {"x": np.array([0.0, 0.0, 0.0, 1.0, -1.0])}
gradient = {"x": np.array([0.0, 0.0, 0.0, 1.0, 0.0])}
"""


@pytest.fixture
def directory(tmp_path, monkeypatch):
    """An empty directory, which is the current one, and in which modules are found."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    before = set(sys.modules)
    yield tmp_path
    for name in set(sys.modules) - before:
        if str(getattr(sys.modules[name], "__file__", "")).startswith(str(tmp_path)):
            del sys.modules[name]


@pytest.mark.parametrize(
    "page", [pytest.param(page, marks=[pytest.mark.long] if page in LONG else []) for page in PAGES]
)
def test_a_page_runs_and_prints_what_it_says(page, directory):
    reader = documents.read(ROOT / page, directory, EDITS.get(page), compares=page not in SHOWN_ELSEWHERE)
    if reader.missing:
        pytest.skip(f"all but what needs {', '.join(sorted(reader.missing))} ran: that is not installed")


def test_readme_begins_with_what_is_printed_of_its_first_file(directory):
    first, second = documents.blocks(ROOT / "README.md")[:2]
    assert (first.language, second.language) == ("python", "console")
    assert "FAIL" in second.text and "line 14" not in first.text and "> 14 |" in second.text
    documents.read(ROOT / "README.md", directory, first=2)


def shown_in(page, language="text"):
    return [block.text for block in documents.blocks(ROOT / page) if block.language == language]


def test_the_first_page_shows_what_is_printed_at_the_start():
    (shown,) = shown_in("docs/index.md")
    printed = shown_in("docs/start.md", "console")[1]
    lines = [" ".join(line.split()) for line in printed.splitlines()]
    assert [line for line in shown.splitlines() if " ".join(line.split()) not in lines] == []


def test_the_note_on_kinks_is_what_a_report_says(directory, capsys):
    (directory / "net.py").write_text(KINKS.strip(), encoding="utf-8")
    main(["check", "net.py"])
    printed = documents.plain(capsys.readouterr().out)
    for page in ("docs/kinks.md", "docs/tables.md"):
        (shown,) = shown_in(page)
        assert documents.plain(shown) in printed


@pytest.mark.skipif(shutil.which(documents.COMPILER) is None, reason="there is no C compiler")
def test_the_guide_for_c_shows_what_the_example_prints(capsys):
    (shown,) = shown_in("docs/guides/c-and-embedded.md")
    runpy.run_path(str(ROOT / "examples" / "compiled_callback.py"), run_name="__main__")
    documents.assert_shown(f"...\n{shown}", capsys.readouterr().out)


@pytest.mark.long
def test_the_guide_for_teachers_shows_what_is_printed_of_four_submissions(directory, capsys):
    net = next(block.text for block in documents.blocks(ROOT / "docs/start.md") if block.language == "python")
    submissions = {
        "anna": net,
        "ben": net.replace("(1 - a1)", "(1 - a1**2)"),
        "carl": "loss, gradient, params = None, None, None\nimport time\nwhile True:\n    time.sleep(0.01)\n",
        "dora": "loss = [\ngradient = params = None\n",
    }
    for name, text in submissions.items():
        Path("sub").mkdir(exist_ok=True)
        Path("sub", f"{name}.py").write_text(text, encoding="utf-8")
    main(["check", "sub/", "--timeout", "1"])
    alike = lambda text: re.sub(r"\d+ s\b|# s|\b\d+\.\d\d\b", "#", documents.plain(text))
    (shown, *_) = shown_in("docs/guides/teacher.md")
    assert alike(shown) == alike(capsys.readouterr().out)


@pytest.mark.long
def test_long_runs_are_as_the_page_says_where_a_file_is_run(directory):
    """Processes import the file, so that its blocks must run as one."""
    code = "".join(block.text for block in documents.blocks(ROOT / "docs/running.md") if block.language == "python")
    Path("run.py").write_text(code, encoding="utf-8")
    ran = subprocess.run([sys.executable, "run.py"], capture_output=True, text=True)
    assert ran.returncode == 0, ran.stderr
    assert Path("run.npz").exists()


def test_every_block_says_what_it_is():
    """``py`` is what a page asks to write into the sources of this library, which no test does."""
    known = {"", "c", "console", "diff", "python", "sh", "text"}
    found = [(page, block) for page in PAGES for block in documents.blocks(ROOT / page)]
    unknown = [(page, block.line, block.language) for page, block in found if block.language not in known]
    assert [place for place in unknown if place[::2] != ("docs/adding.md", "py")] == []


def test_commands_have_options_that_exist():
    commands = [
        command
        for page in PAGES
        for block in documents.blocks(ROOT / page)
        if block.language == "sh"
        for command in re.findall(r"gradcheck-fast ([a-z]+.*)", block.text)
    ]
    assert len(commands) > 3
    for command in commands:
        assert documents.parses(command), command


@pytest.mark.parametrize("module", ["gradcheck_fast", *(f"gradcheck_fast.{name}" for name in documents.OPTIONAL)])
def test_every_public_name_is_in_the_reference(module):
    library = module.partition(".")[2]
    if library:
        pytest.importorskip(library)
    documented = set()
    for page in ROOT.glob("docs/api/*.rst"):
        current = ""
        for directive, argument in re.findall(r"^\.\. (\w+):: +(\S+)$", page.read_text(encoding="utf-8"), re.MULTILINE):
            if directive == "currentmodule":
                current = argument
            elif directive.startswith("auto"):
                documented.add(f"{current}.{argument}")
    public = {f"{module}.{name}" for name in importlib.import_module(module).__all__}
    # those of the package itself are modules, which have a section each
    adapters = {f"gradcheck_fast.{name}" for name in documents.OPTIONAL}
    assert sorted(public - adapters - documented) == []
    assert sorted(name for name in documented if name.rpartition(".")[0] == module and name not in public) == []


@pytest.mark.parametrize("name", activations())
def test_every_activation_is_named(name):
    page = (ROOT / "docs" / "networks.md").read_text(encoding="utf-8")
    row = next(line for line in page.splitlines() if line.startswith("| activations"))
    assert re.search(rf"\b{name}\b", row)


def test_every_cost_and_the_penalty_are_named():
    page = (ROOT / "docs" / "networks.md").read_text(encoding="utf-8")
    own = (kind for kind in Cost.__subclasses__() if kind.__module__.startswith("gradcheck_fast"))
    for kind in (*own, gf.L2, gf.Dense, gf.LSTM):
        assert f"{kind.__name__}(" in page
