"""The README's examples run, and what it says is there."""

import ctypes
import os
import re
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest

import gradcheck_fast as gf
from gradcheck_fast.cli.main import main
from gradcheck_fast.frontends.network.costs import Cost
from gradcheck_fast.frontends.network.layers import activations

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text()
DOCS = [str(path.relative_to(ROOT)) for path in sorted(ROOT.glob("docs/*.md"))]


def blocks(language):
    return re.findall(rf"^```{language}\n(.*?)^```$", README, re.M | re.S)


def without_rounding(text):
    return re.sub(r"to \d+e-\d+|exactly", "#", text)


def library(block):
    """The optional library that an example needs, if it needs one."""
    found = re.search(r"^(?:import|from) (torch|sklearn|jax|onnx)\b", block, re.M)
    return found and found[1]


def test_python_examples_run_in_order_and_the_report_passes(capsys):
    names = {"__name__": "readme"}
    for block in blocks("python"):
        if not library(block):
            exec(block, names)
    printed = capsys.readouterr().out
    assert "gradcheck: PASS" in printed
    assert without_rounding(blocks("text")[0]) in without_rounding(printed)
    located = [
        line for line in blocks("text")[1].splitlines() if line.startswith(("gradcheck:", "W, rows", "b: wrong"))
    ]
    assert len(located) == 3
    assert all(line in printed for line in located)
    assert names["report"].ok
    names["test_backprop"](gf.gradcheck)


@pytest.mark.parametrize("name", ["torch", "sklearn", "jax", "onnx"])
def test_examples_with_other_libraries_run(name):
    pytest.importorskip(name, reason=f"{name} is not installed")
    (example,) = (block for block in blocks("python") if library(block) == name)
    names = {}
    exec(example, names)
    assert names["report"].ok


COMPILER = os.environ.get("CC", "cc")


@pytest.mark.skipif(not shutil.which(COMPILER), reason="there is no C compiler")
def test_its_compiled_function_is_compiled_and_checked(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (source,), (use,) = blocks("c"), blocks("py")
    Path("loss.c").write_text(source)
    options = re.search(r"# cc (.*)", use)[1].replace("<what gf.get_include() says>", gf.get_include())
    subprocess.run([COMPILER, *options.split()], check=True)
    x = np.array([1.0, 2.0, 3.0])
    reports, gradcheck = [], gf.gradcheck
    monkeypatch.setattr(gf, "gradcheck", lambda *arguments: reports.append(gradcheck(*arguments)))
    exec(use, {**vars(ctypes), "ctypes": ctypes, "gf": gf, "gradient": 2 * x, "params": x, "array": x})
    assert [report.ok for report in reports] == [True, True]


def test_demo_output_is_what_the_demo_prints(capsys):
    assert main(["demo"]) == 0
    # rounding and timing differ from machine to machine: compare words, names, shapes and counts
    numbers = re.compile(r"[\d.e+]+ (us|ms|s)\b|-?[\d.]+e[-+]\d+")
    plain = lambda text: re.sub(r"\s+", " ", numbers.sub("#", text.split("\nworst")[0])).strip()
    shown = blocks("console")[0].split("demo\n", 1)[1]
    printed = capsys.readouterr().out
    assert "2,736 of 3,610" in plain(shown)
    assert plain(shown) == plain(printed)


@pytest.mark.parametrize("name", activations())
def test_every_activation_is_named(name):
    row = next(line for line in README.splitlines() if line.startswith("| activations"))
    assert re.search(rf"\b{name}\b", row)


def test_its_pictures_and_links_are_there():
    paths = [path for path in re.findall(r"\]\(([^)#]+)\)", README) if "://" not in path]
    assert "docs/step_sweep.png" in paths
    for path in paths:
        assert (ROOT / path).exists(), path


def test_every_cost_and_the_penalty_are_named():
    own = (kind for kind in Cost.__subclasses__() if kind.__module__.startswith("gradcheck_fast"))
    for kind in (*own, gf.L2, gf.Dense, gf.LSTM):
        assert f"{kind.__name__}(" in README


@pytest.mark.parametrize("name", gf.__all__)
def test_every_public_name_is_there(name):
    assert re.search(rf"\b{name}\b", README)


def test_the_guide_for_contributors_names_every_package_and_module():
    guide = (ROOT / "CONTRIBUTING.md").read_text()
    root = Path(gf.__file__).parent
    packages = {f"`{path.parent.relative_to(root)}/`" for path in root.rglob("__init__.py")} - {"`./`"}
    modules = {f"`{path.stem}`" for path in root.glob("*/**/*.py")} - {"`__init__`"}
    assert [name for name in sorted(packages | modules) if name not in guide] == []


@pytest.mark.parametrize("name", ["README.md", "CONTRIBUTING.md", "CHANGELOG.md", *DOCS])
def test_lines_of_prose_have_at_most_120_characters(name):
    lines = (ROOT / name).read_text().splitlines()
    assert [line for line in lines if len(line) > 120 and not line.startswith(("|", "![", "```"))] == []
