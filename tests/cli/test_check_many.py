"""``gradcheck-fast check`` of many files: each in its own process, and a summary."""

import json
import os
import re
import subprocess
import sys
import time
from pathlib import Path
from xml.etree import ElementTree

import pytest
import submissions

from gradcheck_fast.cli.main import main
from gradcheck_fast.cli.many import exit_code
from gradcheck_fast.cli.outcome import Outcome, examine
from gradcheck_fast.cli.targets import Target
from gradcheck_fast.running.threads import resolve

RIGHT = """
import numpy as np
loss = lambda p: float(np.sum(p["w"] ** 2))
params = {"w": np.arange(1.0, 4.0)}
gradient = {"w": 2 * params["w"]}
"""
WRONG = RIGHT + "gradient['w'][1] *= 1.5\n"
RAISES = RIGHT + "1 / 0\n"


@pytest.fixture
def write(tmp_path, monkeypatch):
    """A function that writes files into the working directory, and returns their names."""
    monkeypatch.chdir(tmp_path)

    def write(**files):
        for name, text in files.items():
            (tmp_path / f"{name}.py").write_text(text)
        return [f"{name}.py" for name in files]

    return write


def rows(printed):
    """The verdicts in a table by file, and the lines that it names."""
    found = re.findall(r"^(PASS|FAIL|INCONCLUSIVE|NOT CHECKED) +(\S+) +(\S+:?\d+ )?", printed, re.M)
    return {file: (verdict, line.strip()) for verdict, file, line in found}


def test_every_file_is_named_whatever_it_does(write, tmp_path, capsys):
    """One check shows all, as each starts processes: a directory, a file that is not there, and all that is written."""
    files = submissions.write(tmp_path, wrong=1, right=5, broken=1)
    write(helper="open('was-run', 'w')\nloss = 3\n", lacks=RIGHT.replace("gradient", "grad"), raises=RAISES)
    write(tells=RIGHT + "from gradcheck_fast.running.threads import resolve\nprint(resolve(2), 'threads')\n")
    (tmp_path / "x" / ".hidden").mkdir(parents=True)
    (tmp_path / "x" / "another.py").write_text(RIGHT)
    (tmp_path / "x" / ".hidden" / "wrong.py").write_text(WRONG)
    outputs = ["--junit", "all.xml", "--json", "all.json", "--github", "--save", "pages"]
    options = ["--timeout", "2", "--method", "direct", "--step", "1e-4"]
    assert main(["check", ".", "raises.py", "nowhere.py", *outputs, *options]) == 1
    expected = {file.path.name: file.verdict for file in files} | {
        "lacks.py": "NOT CHECKED",
        "raises.py": "NOT CHECKED",
        "tells.py": "PASS",
        "x/another.py": "PASS",
        "nowhere.py": "NOT CHECKED",
    }

    printed = capsys.readouterr().out
    table = rows(printed)
    assert {file: verdict for file, (verdict, _) in table.items()} == expected
    assert list(table) == [*sorted(expected.keys() - {"nowhere.py"}), "nowhere.py"]
    right, wrong, broken = (list(expected.values()).count(verdict) for verdict in ("PASS", "FAIL", "NOT CHECKED"))
    assert f"{right + wrong + broken} files: {right} right, {wrong} wrong, {broken} not checked, in" in printed
    assert "1 more define nothing to check" in printed
    assert not (tmp_path / "was-run").exists()

    found = {entry["target"]: entry for entry in json.loads((tmp_path / "all.json").read_text())["files"]}
    assert [file for file in files if file.message not in found[file.path.name]["message"]] == []
    assert found["x/another.py"]["report"]["step"] == 1e-4
    assert found["tells.py"]["output"] == f"{resolve(2)} threads\n"
    for file in files:
        lines = len(file.path.read_text().splitlines())
        if "segfault" in file.path.name:
            assert found[file.path.name]["place"]["line"] == lines
        if "loop" in file.path.name:
            assert lines - found[file.path.name]["place"]["line"] in (0, 1)

    suite = ElementTree.parse("all.xml").getroot()[0]
    kinds = {case.get("name"): [child.tag for child in case if child.tag != "system-out"] for case in suite}
    tags = {"PASS": [], "FAIL": ["failure"], "NOT CHECKED": ["error"]}
    assert kinds == {file: tags[verdict] for file, verdict in expected.items()} | {"helper.py": ["skipped"]}

    assert "::error file=raises.py,line=6,title=gradcheck%3A NOT CHECKED::raised ZeroDivisionError" in printed
    assert printed.count("::error file=") == wrong + broken
    pages = {str(path.relative_to("pages")) for path in Path("pages").rglob("*.html")}
    assert pages == {f"{file}.html" for file, verdict in expected.items() if verdict in ("PASS", "FAIL")}


@pytest.mark.long
def test_two_hundred_files_take_less_than_two_minutes(tmp_path, capsys):
    files = submissions.write(tmp_path, wrong=15, right=40, broken=2, seed=1)
    began = time.perf_counter()
    assert main(["check", str(tmp_path), "--timeout", "5", "--json"]) == 1
    assert time.perf_counter() - began < 120
    found = json.loads(capsys.readouterr().out)["files"]
    assert len(found) == len(files) == 200
    for file, entry in zip(files, found, strict=True):
        assert (entry["target"], entry["verdict"]) == (str(file.path), file.verdict)
        assert file.message in entry["message"]


def test_the_line_of_a_diagnosed_mistake_is_that_of_the_gradient(tmp_path):
    line, instead = submissions.MISTAKES["slope"]
    text = submissions.NETWORK.format(seed=0, samples=4, inputs=3, hidden=2, outputs=2)
    (tmp_path / "net.py").write_text(text.replace(line, instead))
    outcome = examine(Target(tmp_path / "net.py"), {})
    assert outcome.verdict == "FAIL"
    assert outcome.place == (str(tmp_path / "net.py"), text.splitlines().index(line) + 1)


@pytest.mark.parametrize(
    ("verdicts", "code"),
    [
        (["PASS", "NOTHING TO CHECK"], 0),
        (["PASS", "NOT CHECKED"], 2),
        (["NOT CHECKED", "FAIL"], 1),
        (["PASS", "INCONCLUSIVE"], 1),
        (["NOTHING TO CHECK"], 2),
        ([], 2),
    ],
)
def test_exit_codes(verdicts, code):
    assert exit_code([Outcome("a.py", "a.py", verdict, "") for verdict in verdicts]) == code


def test_a_directory_without_anything_to_check_is_bad_input(write, capsys):
    write(helper="loss = 3\n")
    assert main(["check", "."]) == 2
    assert "nothing to check" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--workers", "2"], "--workers: expected with one file"),
        (["--checkpoint", "c"], "--checkpoint: expected with one file"),
        (["--jobs", "0"], "--jobs: expected"),
        (["--save", "page.html"], "--save: expected a directory"),
        (["--junit", "nowhere/all.xml"], "--junit: no such directory"),
        (["--github", "--json"], "only one of them can be printed"),
    ],
)
def test_what_does_not_go_with_many_files_is_bad_input(write, arguments, says, capsys):
    write(a=RIGHT)
    assert main(["check", ".", *arguments]) == 2
    assert says in capsys.readouterr().err


def test_json_never_writes_over_a_python_file(write, tmp_path, capsys):
    write(a=RIGHT)
    assert main(["check", "--json", "a.py"]) == 0
    assert json.loads(capsys.readouterr().out)["ok"]
    with pytest.raises(SystemExit):
        main(["check", "a.py", "--json=a.py"])
    assert (tmp_path / "a.py").read_text() == RIGHT


@pytest.mark.long
def test_a_process_that_watches_over_files_is_replaced(write, capsys):
    targets = write(kills=RIGHT + "import os\nos.kill(os.getppid(), 9)\n", a=RIGHT, b=RIGHT)
    assert main(["check", *targets, "--jobs", "1"]) == 2
    found = rows(capsys.readouterr().out)
    assert [verdict for verdict, _ in found.values()] == ["NOT CHECKED", "PASS", "PASS"]


@pytest.mark.long
def test_files_named_like_modules_of_the_standard_library_do_no_harm(write):
    write(json=RIGHT, signal=RIGHT, socket=RIGHT)
    run = subprocess.run([sys.executable, "-c", RUN, "check", "."], capture_output=True, text=True)
    assert run.returncode == 0, run.stderr
    assert "3 files: 3 right" in run.stdout


RUN = "import sys; del sys.path[0]; from gradcheck_fast.cli.main import main; sys.exit(main())"


@pytest.mark.long
def test_ctrl_c_shows_what_is_known_and_leaves_no_process(write, tmp_path):
    write(a=RIGHT, hangs=RIGHT + "import os, time\nopen('pid', 'w').write(str(os.getpid()))\ntime.sleep(600)\n")
    run = subprocess.Popen([sys.executable, "-c", RUN, "check", ".", "--jobs", "1"], stdout=subprocess.PIPE, text=True)
    wait_for(lambda: (tmp_path / "pid").exists() and (tmp_path / "pid").read_text())
    run.send_signal(2)
    assert "1 file: 1 right" in run.communicate(timeout=30)[0]
    assert run.returncode == 130
    wait_for(lambda: not is_alive(int((tmp_path / "pid").read_text())))


def wait_for(condition, seconds=30):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it has not happened"
        time.sleep(0.01)


def is_alive(pid):
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True
