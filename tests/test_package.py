"""The package as such: what importing it costs and offers."""

import importlib.metadata
import subprocess
import sys
from pathlib import Path

import pytest

import gradcheck_fast as gf


def test_the_public_names_are_all_there():
    assert all(hasattr(gf, name) for name in gf.__all__)
    assert gf.__version__ == importlib.metadata.version("gradcheck_fast")


def test_importing_brings_in_numpy_and_nothing_else_from_outside():
    code = (
        "import sys, numpy; before = set(sys.modules); import gradcheck_fast;"
        "print(*{m.partition('.')[0] for m in set(sys.modules) - before} - set(sys.stdlib_module_names))"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert set(run.stdout.split()) <= {"gradcheck_fast", "numpy", "_cython_3_3_1", "cython_runtime"} | {
        name for name in run.stdout.split() if name.startswith("_cython")
    }


def test_adapters_are_attributes_though_their_libraries_are_imported_only_when_used():
    assert {"torch", "sklearn", "jax"} <= set(dir(gf))
    with pytest.raises(AttributeError, match="has no attribute 'tensorflow'"):
        _ = gf.tensorflow


def test_type_information_and_data_are_installed():
    root = Path(gf.__file__).parent
    for name in ("callback", "compare", "engine", "kernels", "program"):
        assert (root / f"_{name}.pyi").is_file(), name
    for name in ("py.typed", "data/digits.csv"):
        assert (root / name).is_file(), name


def test_the_header_is_installed():
    assert (Path(gf.get_include()) / "gradcheck_fast.h").is_file()
