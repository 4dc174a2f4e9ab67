"""The package as such: what importing it costs and offers."""

import importlib
import importlib.metadata
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import gradcheck_fast as gf

PUBLIC = [
    "AbsoluteError",
    "ArrayResult",
    "BinaryCrossEntropy",
    "CrossEntropy",
    "Dense",
    "Entry",
    "GRU",
    "GradientError",
    "Huber",
    "L2",
    "LSTM",
    "LongRunWarning",
    "Network",
    "RNN",
    "Report",
    "SquaredError",
    "callback",
    "check_jvp",
    "check_layer",
    "check_training_step",
    "check_vjp",
    "get_include",
    "gradcheck",
    "numerical_gradient",
    "plot_step_sweep",
    "relative_error",
    "show_config",
]
OF_A_REPORT = [
    "analytic",
    "arrays",
    "bars",
    "blind",
    "checked",
    "coverage",
    "diagnoses",
    "error_bars",
    "evaluations",
    "finite_here",
    "flat_numerical",
    "kinks_crossed",
    "method",
    "notes",
    "numerical",
    "ok",
    "plot",
    "print",
    "raise_if_failed",
    "reason",
    "relative_error",
    "save",
    "seconds",
    "seen_from",
    "shares",
    "step",
    "to_dict",
    "verdict",
    "worst",
    "wrong",
]
OF_A_LOSS = [
    "central_differences",
    "cost",
    "costs_at",
    "faster",
    "fingerprint",
    "methods",
    "network",
    "pack",
    "samples",
    "times",
]


def test_the_public_names_are_all_there():
    assert set(PUBLIC) <= set(gf.__all__)
    assert all(hasattr(gf, name) for name in gf.__all__)
    loss = gf.Network(gf.Dense(1, 1), cost=gf.SquaredError()).loss([[1.0]], [[1.0]])
    assert [name for name in OF_A_LOSS if not hasattr(loss, name)] == []
    params = {"W1": np.ones((1, 1)), "b1": np.zeros(1)}
    report = gf.gradcheck(loss, params, params)
    assert [name for name in OF_A_REPORT if not hasattr(report, name)] == []
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


ADAPTERS = ("jax", "sklearn", "torch")


def in_a_new_process(code, *arguments):
    return subprocess.run([sys.executable, "-c", code, *arguments], capture_output=True, text=True, check=True).stdout


def test_looking_at_the_package_imports_no_other_library():
    code = f"""
import inspect, pydoc, sys
import gradcheck_fast as gf
inspect.getmembers(gf)
pydoc.render_doc(gf)
print([name for name in {ADAPTERS} if name in sys.modules])
"""
    assert in_a_new_process(code) == "[]\n"


def test_there_is_nothing_else():
    with pytest.raises(AttributeError, match="has no attribute 'tensorflow'"):
        _ = gf.tensorflow


HIDDEN = """
import sys
import gradcheck_fast as gf

class Hides:
    def find_spec(self, name, path, target=None):
        if name == sys.argv[1]:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)

sys.meta_path.insert(0, Hides())
"""


@pytest.mark.parametrize("library", ADAPTERS)
def test_an_adapter_without_its_library_says_how_to_install_it(library):
    code = f"""{HIDDEN}
assert not hasattr(gf, {library!r})
try:
    gf.{library}
except AttributeError as error:
    print(error)
try:
    from gradcheck_fast import {library}
except ImportError as error:
    print(error)
"""
    said = [f'gf.{library} needs {library}: pip install "gradcheck_fast[{library}]"', f"No module named '{library}'"]
    assert in_a_new_process(code, library).splitlines() == said
    assert library in importlib.metadata.metadata("gradcheck_fast").get_all("Provides-Extra")


def test_an_adapter_that_lacks_something_else_says_what():
    code = f"""{HIDDEN}
try:
    gf.torch
except ImportError as error:
    print(error.name)
"""
    pytest.importorskip("torch", reason="PyTorch is not installed")
    assert in_a_new_process(code, "gradcheck_fast.frontends.torch_chain") == "gradcheck_fast.frontends.torch_chain\n"


def test_type_information_and_data_are_installed():
    root = Path(gf.__file__).parent
    for package in ("comparison", "engine", "inputs", "kernels", "losses"):
        compiled = importlib.import_module(f"gradcheck_fast.{package}").__path__
        extensions = {file.name.partition(".")[0] for path in compiled for file in Path(path).glob("_*.so")}
        assert extensions, package
        stubs = {file.stem for path in compiled for file in Path(path).glob("_*.pyi")}
        assert extensions <= stubs, package
    for name in ("py.typed", "data/digits.csv"):
        assert (root / name).is_file(), name


def test_the_header_is_installed():
    assert (Path(gf.get_include()) / "gradcheck_fast.h").is_file()
