"""The import contract, as far as import-linter cannot see it: compiled modules, and imports inside of functions."""

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
SOURCES = ROOT / "src" / "gradcheck_fast"
pytestmark = pytest.mark.skipif(not SOURCES.exists(), reason="the sources are not here")
#: The only imports of this package inside of functions: (module, what it imports).
WAIT = {
    ("checks/as_problem.py", "gradcheck_fast.frontends.numpy_trace.traced_loss"),
    ("checks/jacobian.py", "gradcheck_fast.diagnosis.jacobians"),
    ("checks/jacobian.py", "gradcheck_fast.frontends.numpy_trace.traced_outputs"),
    ("checks/jacobian_products.py", "gradcheck_fast.frontends.numpy_trace.traced_outputs"),
    ("checks/jacobian_products.py", "gradcheck_fast.checks.one_precision"),
    ("checks/jacobian_products.py", "gradcheck_fast.checks.by_reference"),
    ("checks/second_look.py", "gradcheck_fast.diagnosis.jacobians"),
    ("checks/second_order/hessian.py", "gradcheck_fast.diagnosis.gauss_newton"),
    ("checks/second_order/objective.py", "gradcheck_fast.diagnosis.diagnose"),
    ("checks/sparse_jacobian.py", "gradcheck_fast.diagnosis.diagnose"),
    ("checks/check.py", "gradcheck_fast.diagnosis.diagnose"),
    ("checks/check.py", "gradcheck_fast.diagnosis.kinks.slopes_taken"),
    ("checks/complex_gradients.py", "gradcheck_fast.diagnosis.diagnose"),
    ("checks/gradcheck.py", "gradcheck_fast.checks.intermediates"),
    ("checks/step_sweep.py", "gradcheck_fast.report.plots"),
    ("frontends/network/network.py", "gradcheck_fast.frontends.network.tensor_network"),
    ("report/findings.py", "gradcheck_fast.diagnosis.graph.astray"),
    ("report/report.py", "gradcheck_fast.report.html"),
    ("report/report.py", "gradcheck_fast.report.plots"),
    ("report/taylor.py", "gradcheck_fast.report.taylor_plot"),
    ("running/runner.py", "gradcheck_fast.running.executors"),
}


def layers():
    """The packages from the top down, as the contract in pyproject.toml has them."""
    contract = re.search(r"^layers = \[(.*?)\]", (ROOT / "pyproject.toml").read_text(), re.M | re.S)[1]
    return re.findall(r'"(\w+)"', contract)


def compiled():
    return sorted(path for path in SOURCES.rglob("_*.p[yx]*") if path.suffix in (".pyx", ".pxd"))


def test_every_package_is_in_the_contract():
    packages = {path.parent.name for path in SOURCES.glob("*/__init__.py")}
    assert packages - set(layers()) == set()


@pytest.mark.parametrize("path", compiled() if SOURCES.exists() else [], ids=lambda path: path.name)
def test_compiled_modules_import_only_what_lies_below(path):
    order = layers()
    own = order.index(path.relative_to(SOURCES).parts[0])
    used = re.findall(r"^\s*(?:from|c?import) gradcheck_fast\.(\w+)", path.read_text(), re.M)
    assert [package for package in used if order.index(package) < own] == []


def test_imports_of_this_package_inside_of_functions_are_listed():
    found = set()
    for path in SOURCES.rglob("*.py"):
        for function in ast.walk(ast.parse(path.read_text())):
            if isinstance(function, (ast.FunctionDef, ast.AsyncFunctionDef)):
                found |= {
                    (path.relative_to(SOURCES).as_posix(), node.module)
                    for node in ast.walk(function)
                    if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("gradcheck_fast")
                }
    assert found == WAIT
