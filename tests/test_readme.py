"""What README says of the project is so. (That its code runs is a matter of `test_docs`.)"""

from __future__ import annotations

import re
from pathlib import Path

import pytest

import gradcheck_fast as gf
from gradcheck_fast.checks.options import DIRECTIONAL, METHODS

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
#: A page that a tool writes, of messages as they are.
WRITTEN = "docs/diagnosis-examples.md"
DOCS = [path.relative_to(ROOT).as_posix() for path in sorted(ROOT.glob("docs/**/*.md"))]


def test_it_can_be_read_in_one_sitting():
    assert len(README.splitlines()) <= 200


def test_it_has_the_two_commands():
    commands = re.findall(r"^python -m pip install .*$", README, re.MULTILINE)
    assert commands[0].endswith(" && gradcheck-fast demo")
    pattern = re.search(r"readme_tests=\$\(sed -n 's/\^\\\((.*)\\\)\$/", (ROOT / ".ci" / "run").read_text())
    assert re.fullmatch(pattern[1], commands[1])


@pytest.mark.parametrize("name", ["README.md", "CONTRIBUTING.md", "SECURITY.md", *DOCS])
def test_links_lead_to_files_that_are_there(name):
    content = re.sub(r"^(`{3,})[^\n]*\n.*?^\1$", "", (ROOT / name).read_text(encoding="utf-8"), flags=re.M | re.S)
    paths = [path for path in re.findall(r"\]\(([^)#\s]+)[^)]*\)", content) if "://" not in path]
    assert [path for path in paths if not (ROOT / name).parent.joinpath(path).exists()] == []


def test_every_method_is_in_its_table():
    assert set(re.findall(r"^\| `\"(\w+)\"` \|", README, re.MULTILINE)) == {*METHODS[1:], DIRECTIONAL}


def test_the_extras_that_it_installs_exist():
    project = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    wanted = re.findall(r"pip install \"gradcheck_fast\[(\w+)\]\"", README)
    assert {"torch", "jax", "onnx"} <= set(wanted)
    assert [name for name in wanted if not re.search(rf"^{name} = \[", project, re.MULTILINE)] == []


def test_the_version_to_cite_is_this_one_and_has_a_heading_in_the_changelog():
    citation = (ROOT / "CITATION.cff").read_text(encoding="utf-8")
    assert f"\nversion: {gf.__version__}\n" in citation
    released = re.search(r"^date-released: (.*)$", citation, re.MULTILINE)[1]
    assert f"\n## {gf.__version__} ({released})\n" in (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")


def test_the_guide_for_contributors_names_every_package_and_module():
    guide = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    root = Path(gf.__file__).parent
    packages = {f"`{path.parent.relative_to(root)}/`" for path in root.rglob("__init__.py")} - {"`./`"}
    modules = {f"`{path.stem}`" for path in root.glob("*/**/*.py")} - {"`__init__`"}
    assert [name for name in sorted(packages | modules) if name not in guide] == []


@pytest.mark.parametrize(
    "name", ["README.md", "CONTRIBUTING.md", "CHANGELOG.md", "SECURITY.md", *sorted({*DOCS} - {WRITTEN})]
)
def test_lines_of_prose_have_at_most_120_characters(name):
    content = (ROOT / name).read_text(encoding="utf-8")
    lines = re.sub(r"^```(?:text|console|\{eval-rst\})\n.*?^```$", "", content, flags=re.M | re.S).splitlines()
    assert [line for line in lines if len(line) > 120 and not line.startswith(("|", "![", "```"))] == []
