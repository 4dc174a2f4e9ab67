"""show_config(): what runs here."""

import numpy as np
import pytest

import gradcheck_fast as gf
from gradcheck_fast.kernels import _kernels


def test_as_a_dict(monkeypatch):
    monkeypatch.delenv("GRADCHECK_FAST_ISA", raising=False)
    config = gf.show_config("dicts")
    assert config["version"] == gf.__version__
    assert config["numpy"] == np.__version__
    assert config["openmp"] is _kernels.has_openmp
    assert config["instruction_sets"] == _kernels.instruction_sets()
    assert config["instruction_set"] == config["instruction_sets"][0]
    assert config["threads"] >= 1


def test_a_forced_instruction_set_is_shown(monkeypatch):
    monkeypatch.setenv("GRADCHECK_FAST_ISA", "baseline")
    assert gf.show_config("dicts")["instruction_set"] == "baseline"


def test_printed(capsys):
    assert gf.show_config() is None
    out = capsys.readouterr().out
    for value in (gf.__version__, np.__version__, _kernels.instruction_sets()[-1]):
        assert value in out


def test_another_mode_is_an_error():
    with pytest.raises(ValueError, match=r"mode: .*stdout, dicts"):
        gf.show_config("yaml")
