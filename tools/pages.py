"""Writes a page of `docs/` that a tool makes, or says whether it is up to date; what these tools share."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

DOCS = Path(__file__).resolve().parent.parent / "docs"


def main(page: Path, text: Callable[[], str]) -> None:
    """Writes the page; with ``--check`` on the command line it only exits with 1 if the page says something else."""
    wanted = text()
    if "--check" not in sys.argv[1:]:
        page.write_text(wanted, encoding="utf-8")
    elif page.read_text(encoding="utf-8") != wanted:
        sys.exit(f"docs/{page.name} is out of date: run this tool without --check")
