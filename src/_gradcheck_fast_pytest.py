"""The pytest plugin: the fixture `gradcheck`, reports that can be read where an assertion failed, and a summary line.

A module beside the package, not in it: pytest loads it at every start, and importing anything of the package would
import NumPy, too.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Generator
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from gradcheck_fast import Report

#: Under this name each check is among the `user_properties` of its test, which pytest-xdist sends to the main process.
PROPERTY = "gradcheck"


@pytest.fixture
def gradcheck(request: pytest.FixtureRequest) -> Callable[..., Report]:
    """`gradcheck_fast.gradcheck`, which fails the test if the gradient is wrong; else returns the report."""
    from gradcheck_fast import GradientError
    from gradcheck_fast import gradcheck as check
    from gradcheck_fast.report.text import short_text

    def run(loss: Any, gradient: Any, params: Any, **options: Any) -> Report:
        __tracebackhide__ = True
        report = check(loss, gradient, params, **options)
        counts = {"verdict": report.verdict, "ok": report.ok, "checked": report.checked, "wrong": report.wrong}
        request.node.user_properties.append((PROPERTY, counts))
        if not report:
            raise GradientError(short_text(report))
        return report

    return run


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(call: pytest.CallInfo[Any]) -> Generator[None, Any, None]:
    """Adds to a failed ``assert report`` what pytest has no room for: it shows one line for each value."""
    outcome = yield
    found = _asserted(call.excinfo) if call.excinfo else []
    if found:
        from gradcheck_fast.report.text import short_text

        longrepr = outcome.get_result().longrepr
        for report in found:
            if hasattr(longrepr, "addsection"):  # not under --tb=native
                longrepr.addsection("gradcheck", short_text(report))


def _asserted(failure: pytest.ExceptionInfo[BaseException]) -> list[Report]:
    """The reports that a failed assertion is about.

    They are among the local variables where it failed (pytest keeps the values of the parts of an assertion there),
    and pytest's message has their repr.
    """
    package = sys.modules.get("gradcheck_fast.report.report")
    if package is None or not failure.errisinstance(AssertionError):
        return []
    message = str(failure.value)
    values = failure.traceback[-1].frame.f_locals.values()
    found = {id(value): value for value in values if isinstance(value, package.Report) and repr(value) in message}
    return list(found.values())


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """A line about all checks of the fixture, if there were any."""
    checks = [
        value
        for reports in terminalreporter.stats.values()
        for report in reports
        if getattr(report, "when", None) == "teardown"  # the last of a test, when all of its checks are known
        for name, value in report.user_properties
        if name == PROPERTY
    ]
    if checks:
        passed = sum(check["ok"] for check in checks)
        failed = len(checks) - passed
        number = f"{len(checks):,} check{'s' * (len(checks) > 1)}"
        entries = f"{sum(check['checked'] for check in checks):,} entries"
        line = f"gradcheck: {number}, {passed:,} passed, {failed:,} failed; {entries}"
        terminalreporter.write_line(line, **{"red" if failed else "green": True})
