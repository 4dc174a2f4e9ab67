"""The command line: what it prints and its exit codes."""

import importlib
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from work import Inline

from gradcheck_fast.cli import main as cli
from gradcheck_fast.cli.main import main

PYPROJECT = Path(__file__).parents[2] / "pyproject.toml"
RIGHT = """
import numpy as np
loss = lambda p: float(np.sum(p["w"] ** 2))
params = {"w": np.arange(1.0, 4.0)}
gradient = {"w": 2 * params["w"]}
"""


@pytest.fixture
def write(tmp_path):
    def write(text, name="mine.py"):
        (tmp_path / name).write_text(text)
        return str(tmp_path / name)

    return write


def test_the_command_that_is_installed_is_this_function():
    module, name = re.search(r'^gradcheck-fast = "(.+):(.+)"$', PYPROJECT.read_text(), re.MULTILINE).groups()
    assert getattr(importlib.import_module(module), name) is main


def test_a_right_gradient_exits_with_0_and_prints_the_report(write, capsys):
    assert main(["check", write(RIGHT)]) == 0
    assert "gradcheck: PASS" in capsys.readouterr().out


def test_a_wrong_gradient_exits_with_1_and_names_the_entry(write, capsys):
    file = write(RIGHT + "gradient['w'][1] *= 1.5\n")
    assert main(["check", file]) == 1
    assert "w[1]" in capsys.readouterr().out


@pytest.mark.parametrize(
    "definition",
    [
        "check = (mine['loss'], mine['gradient'], mine['params'])",
        "check = mine",
        "class check: loss, gradient, params = mine['loss'], mine['gradient'], mine['params']",
        "def check(): return mine",
    ],
    ids=["tuple", "dict", "object", "function"],
)
def test_a_name_in_the_file_may_hold_all_three(write, definition, capsys):
    file = write(f"mine = {{}}\nexec({RIGHT!r}, mine)\n{definition}\n")
    assert main(["check", f"{file}:check"]) == 0
    assert main(["check", file]) == 2
    assert "defines no loss, gradient, params" in capsys.readouterr().err


def test_options_reach_gradcheck(write, capsys):
    arguments = ["--method", "direct", "--step", "1e-4", "--rtol", "0.1", "--atol", "0", "--threads", "1", "--json"]
    assert main(["check", write(RIGHT), *arguments]) == 0
    report = json.loads(capsys.readouterr().out)
    assert (report["method"], report["step"]) == ("direct", 1e-4)
    assert (report["arrays"][0]["rtol"], report["arrays"][0]["atol"]) == (0.1, 0.0)


MANY = """
import numpy as np
loss = lambda p: float(np.sum(p ** 2))
params = np.arange(1000.0).reshape(20, 50)
gradient = 2 * params
"""


@pytest.mark.parametrize(("sample", "checked"), [("10", 10), ("0.5", 500)])
def test_a_sample_is_a_number_of_entries_or_a_share(write, sample, checked, capsys):
    assert main(["check", write(MANY), "--sample", sample, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["checked"] == checked


def test_the_seed_is_that_of_the_sample(write, capsys):
    file = write(MANY + "gradient[7, 8] += 1.0\n")
    found = {main(["check", file, "--sample", "300", "--seed", str(seed)]) for seed in range(10)}
    assert found == {0, 1}


def test_workers_are_other_processes(write, tmp_path, capsys):
    pytest.importorskip("cloudpickle", reason="cloudpickle sends functions of files")
    calls = tmp_path / "calls"
    file = write(f"""import os
{MANY}
def loss(p):
    with open({str(calls)!r}, "a") as file:
        print(os.getpid(), file=file)
    return float(np.sum(p ** 2))
""")
    assert main(["check", file, "--workers", "2", "--sample", "50", "--no-trace"]) == 0
    processes = calls.read_text().split()
    assert {str(os.getpid())} < set(processes)
    assert processes.count(str(os.getpid())) < 100 < len(processes)


def test_workers_that_die_are_named_without_a_traceback(write, capsys, monkeypatch):
    pytest.importorskip("cloudpickle", reason="cloudpickle sends functions of files")
    monkeypatch.setattr(cli, "_processes", lambda workers: lambda: Inline(deaths=100))
    assert main(["check", write(RIGHT), "--workers", "2"]) == 2
    error = capsys.readouterr().err
    assert error.startswith("gradcheck-fast: executor: its workers died 3 times")
    assert len(error.splitlines()) == 1


@pytest.mark.parametrize("command", [[], ["check"]], ids=["all", "check"])
def test_help_lists_the_exit_codes(command, capsys):
    with pytest.raises(SystemExit):
        main([*command, "--help"])
    printed = " ".join(capsys.readouterr().out.split())
    for code, meaning in ((0, "the gradient is right"), (1, "it is wrong, or too little could be checked")):
        assert f"{code} {meaning}" in printed
    assert {"130", "141"} <= set(printed.split())


@pytest.mark.parametrize("option", [["--workers", "0"], ["--sample", "0"], ["--seed", "-1"]])
def test_options_out_of_range_are_bad_input(write, option, capsys):
    assert main(["check", write(RIGHT), *option]) == 2
    assert f"{option[0].strip('-')}: expected" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("loss = 3\n", "gradient, params"),
        (RIGHT + "params['w'][2] = np.nan\n", "w: nan at index [2]"),
        (RIGHT + "gradient = {'v': params['w']}\n", "missing w"),
        (RIGHT + "loss = 3\n", "expected a function"),
        (RIGHT + "1 / 0\n", "ZeroDivisionError"),
        (RIGHT + "def loss(p): raise ValueError('mine')\n", "raised"),
        (RIGHT + "def loss(p): raise RuntimeError('mine')\n", "raised"),
        (RIGHT + "raise SystemExit(0)\n", "raised"),
        ("loss = = 3\n", "SyntaxError"),
    ],
    ids=["missing", "nan", "names", "no-function", "raises", "loss-raises", "loss-raises-another", "exits", "syntax"],
)
def test_bad_input_exits_with_2_and_says_why(write, text, says, capsys):
    assert main(["check", write(text)]) == 2
    captured = capsys.readouterr()
    assert says in captured.err
    assert captured.out == ""


def test_a_missing_file_and_a_missing_name_are_bad_input(write, capsys):
    assert main(["check", "nowhere.py"]) == 2
    assert "nowhere.py" in capsys.readouterr().err
    assert main(["check", write(RIGHT) + ":grad"]) == 2
    assert "did you mean 'gradient'" in capsys.readouterr().err


@pytest.mark.parametrize(
    "arguments", [[], ["chekc"], ["check"], ["check", "a.py", "--step", "x"], ["check", "a.py", "--sample", "few"]]
)
def test_bad_usage_exits_with_2(arguments, capsys):
    with pytest.raises(SystemExit) as stopped:
        main(arguments)
    assert stopped.value.code == 2
    assert "usage" in capsys.readouterr().err


def test_the_file_may_import_its_neighbours(write):
    write("scale = 2.0\n", "neighbour.py")
    before = list(sys.path)
    assert main(["check", write(RIGHT + "from neighbour import scale\ngradient['w'] *= scale / 2\n")]) == 0
    assert sys.path == before


def test_save_writes_the_report_and_prints_it_all_the_same(write, tmp_path, capsys):
    file = tmp_path / "report.html"
    assert main(["check", write(RIGHT), "--save", str(file)]) == 0
    assert "gradcheck: PASS" in capsys.readouterr().out
    assert "PASS" in file.read_text()


def test_json_can_be_written_to_a_file_instead(write, tmp_path, capsys):
    assert main(["check", write(RIGHT), "--json", str(tmp_path / "report.json")]) == 0
    assert "gradcheck: PASS" in capsys.readouterr().out
    assert json.loads((tmp_path / "report.json").read_text())["ok"]


@pytest.mark.parametrize("name", ["report.pdf", "nowhere/report.html"])
def test_a_report_that_cannot_be_saved_exits_with_2_and_names_the_path(write, tmp_path, name, capsys):
    assert main(["check", write(RIGHT), "--save", str(tmp_path / name)]) == 2
    assert name in capsys.readouterr().err


def test_python_m_runs_the_same():
    run = subprocess.run([sys.executable, "-m", "gradcheck_fast", "--version"], capture_output=True, text=True)
    assert run.returncode == 0
    assert run.stdout.startswith("gradcheck_fast ")


def test_json_has_no_nan(write, capsys):
    assert main(["check", write(RIGHT + "gradient['w'][1] = np.nan\n"), "--json"]) == 1
    report = json.loads(capsys.readouterr().out, parse_constant=lambda name: pytest.fail(f"{name} is not JSON"))
    assert report["worst"][0]["analytic"] == "nan"
