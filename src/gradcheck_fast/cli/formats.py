"""Writes what came of many files for other programs: JUnit's XML, GitHub's annotations, and JSON."""

from __future__ import annotations

import json
import os
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

from gradcheck_fast._version import __version__
from gradcheck_fast.cli.outcome import NOT_CHECKED, NOTHING, Outcome

#: What GitHub wants to be written for characters that would end a message, and for those that would end a property. See
#: https://docs.github.com/actions/reference/workflows-and-actions/workflow-commands.
_ESCAPED = {"%": "%25", "\r": "%0D", "\n": "%0A"}
_ESCAPED_IN_PROPERTIES = _ESCAPED | {":": "%3A", ",": "%2C"}
#: The environment variable that says where GitHub has checked out the repository.
_WORKSPACE = "GITHUB_WORKSPACE"


def in_words(outcome: Outcome) -> str:
    """Says in a line what came of a file: the verdict in words, and the mistake if it was diagnosed."""
    return f"{outcome.message}; most likely: {outcome.causes[0]}" if outcome.causes else outcome.message


def junit(outcomes: Sequence[Outcome], seconds: float) -> str:
    """Writes JUnit's XML: a test case for each file.

    A wrong gradient, and one of which too little is known, is a failure; a file that could not be checked is an error;
    one that defines nothing to check is skipped.

    Parameters
    ----------
    outcomes : sequence of Outcome
    seconds : float
        How long all took.
    """
    counts = {
        "tests": len(outcomes),
        "failures": sum(outcome.is_failure for outcome in outcomes),
        "errors": sum(outcome.verdict == NOT_CHECKED for outcome in outcomes),
        "skipped": sum(outcome.verdict == NOTHING for outcome in outcomes),
    }
    about = {"name": "gradcheck-fast", "time": f"{seconds:.3f}"} | {what: str(count) for what, count in counts.items()}
    root = ElementTree.Element("testsuites", about)
    suite = ElementTree.SubElement(root, "testsuite", about)
    for outcome in outcomes:
        _add_case(suite, outcome)
    ElementTree.indent(root)
    return ElementTree.tostring(root, encoding="unicode", xml_declaration=False)


def _add_case(suite: ElementTree.Element, outcome: Outcome) -> None:
    about = {"classname": "gradcheck", "name": outcome.target, "file": outcome.file, "time": f"{outcome.seconds:.3f}"}
    line = _line_in(outcome)
    case = ElementTree.SubElement(suite, "testcase", about | ({} if line is None else {"line": str(line)}))
    kind = "failure" if outcome.is_failure else {NOT_CHECKED: "error", NOTHING: "skipped"}.get(outcome.verdict)
    if kind:
        said = {"message": in_words(outcome)} | ({} if kind == "skipped" else {"type": outcome.verdict})
        ElementTree.SubElement(case, kind, said).text = outcome.text
    if outcome.output:
        ElementTree.SubElement(case, "system-out").text = outcome.output


def _line_in(outcome: Outcome) -> int | None:
    """The line of the file itself that is to be looked at: that of the mistake if known, else of the gradient."""
    if outcome.place and os.path.realpath(outcome.place[0]) == os.path.realpath(outcome.file):
        return outcome.place[1]
    return outcome.defined


def github(outcomes: Sequence[Outcome], environment: Mapping[str, str] = os.environ) -> list[str]:
    """Writes a workflow command of GitHub's for each file that is not right, which shows it at the line of the mistake.

    If no line was diagnosed, it is shown where the gradient is defined, or at the file as a whole.

    Parameters
    ----------
    outcomes : sequence of Outcome
    environment : mapping
        Where ``GITHUB_WORKSPACE`` is looked up; paths are written from there on, or else from the working directory.
    """
    root = environment.get(_WORKSPACE) or os.getcwd()
    said = []
    for outcome in outcomes:
        if not outcome.is_failure and outcome.verdict != NOT_CHECKED:
            continue
        file, line = outcome.place or (outcome.file, outcome.defined)
        where = {"file": _from(root, file)} | ({} if line is None else {"line": str(line)})
        properties = ",".join(f"{key}={_escaped(value, _ESCAPED_IN_PROPERTIES)}" for key, value in where.items())
        title = _escaped(f"gradcheck: {outcome.verdict}", _ESCAPED_IN_PROPERTIES)
        whose = f"{outcome.target}: " if outcome.place and not _is_same(file, outcome.file) else ""
        words = "\n".join((f"{whose}{in_words(outcome)}", *outcome.causes[1:]))
        said.append(f"::error {properties},title={title}::{_escaped(words, _ESCAPED)}")
    return said


def without_commands(text: str) -> str:
    """Writes a text so that GitHub does not take any line of it for a command: it may be a user's."""
    mark = secrets.token_hex(16)
    return f"::stop-commands::{mark}\n{text}\n::{mark}::"


def _is_same(file: str, other: str) -> bool:
    return os.path.realpath(file) == os.path.realpath(other)


def _from(root: str, file: str) -> str:
    """Returns a path from a directory on if the file lies in that, with slashes."""
    path, start = os.path.realpath(file), os.path.realpath(root)
    inside = os.path.commonpath([path, start]) == start
    return Path(os.path.relpath(path, start)).as_posix() if inside else Path(path).as_posix()


def _escaped(text: str, table: Mapping[str, str]) -> str:
    return "".join(table.get(character, character) for character in text)


def as_json(outcomes: Sequence[Outcome], seconds: float, exit_code: int) -> str:
    """Writes JSON: how many files have which verdict, and of each file its verdict, why, where, and its report.

    Parameters
    ----------
    outcomes : sequence of Outcome
    seconds : float
        How long all took.
    exit_code : int
        That of the command.
    """
    written = {
        "version": __version__,
        "exit_code": exit_code,
        "seconds": seconds,
        "verdicts": counts(outcomes),
        "files": [_entry(outcome) for outcome in outcomes],
    }
    return json.dumps(written, indent=2, allow_nan=False)


def _entry(outcome: Outcome) -> dict[str, Any]:
    entry = {key: value for key, value in asdict(outcome).items() if key not in ("coloured", "imported", "place")}
    place = outcome.place and {"file": outcome.place[0], "line": outcome.place[1]}
    return entry | {"place": place}


def counts(outcomes: Sequence[Outcome]) -> dict[str, int]:
    """Counts how many files have which verdict."""
    verdicts = [outcome.verdict for outcome in outcomes]
    return {verdict: verdicts.count(verdict) for verdict in ("PASS", "FAIL", "INCONCLUSIVE", NOT_CHECKED, NOTHING)}
