"""The examples run, as a user would run them, and pass."""

import os
import runpy
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).parents[1] / "examples"


@pytest.mark.parametrize("file", sorted(EXAMPLES.glob("tutorial_*.py")), ids=lambda file: file.stem)
def test_tutorials_pass_compiled_and_plain(file):
    for report in runpy.run_path(str(file))["main"]():
        assert report.ok
        assert report.relative_error < (1e-8 if report.method == "direct" else 5e-15)


@pytest.mark.long
def test_the_character_model_passes_and_its_planted_mistake_is_found():
    right, wrong = runpy.run_path(str(EXAMPLES / "character_lstm.py"))["main"]()
    assert right.ok
    assert right.relative_error < 1e-14
    assert [array.name for array in wrong.arrays if array.wrong] == ["Wx1", "Wh1", "b1"]
    assert wrong.diagnoses[0].cause == "in layer 1 what goes back from f * c[t-1] to c[t-1] is multiplied by i"


@pytest.mark.parametrize(
    ("name", "wrong_arrays"),
    [
        ("numpy_cnn", ["W1", "b1"]),
        ("numpy_transformer_block", ["E", "P", "g1", "s1", "Wqkv"]),
        ("numpy_lstm_buffers", ["W"]),
        ("numpy_batchnorm", ["W1", "b1"]),
        ("numpy_word2vec", ["U"]),
    ],
)
def test_hand_written_networks_pass_and_the_arrays_of_their_planted_mistakes_are_named(name, wrong_arrays):
    right, wrong = runpy.run_path(str(EXAMPLES / f"{name}.py"))["main"]()
    assert right.ok
    assert not wrong.ok
    assert [array.name for array in wrong.arrays if array.wrong] == wrong_arrays


@pytest.mark.skipif(not shutil.which(os.environ.get("CC", "cc")), reason="there is no C compiler")
def test_the_network_in_c_passes_and_its_planted_mistake_is_found():
    right, wrong = runpy.run_path(str(EXAMPLES / "compiled_callback.py"))["main"]()
    assert right.ok
    assert [array.name for array in wrong.arrays if array.wrong] == ["W1", "b1"]


def test_the_callback_of_numba_passes():
    pytest.importorskip("numba")
    assert runpy.run_path(str(EXAMPLES / "numba_callback.py"))["main"]().ok


def test_my_check_is_checked_from_the_shell():
    command = [sys.executable, "-m", "gradcheck_fast", "check", str(EXAMPLES / "my_check.py")]
    run = subprocess.run(command, capture_output=True, text=True)
    assert run.returncode == 0, run.stderr
    assert "gradcheck: PASS" in run.stdout
