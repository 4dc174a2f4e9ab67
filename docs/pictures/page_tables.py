"""Reads the numbers of a table of a page, so that a picture of them shows what the page says."""

import re
from pathlib import Path

DOCS = Path(__file__).resolve().parent.parent


def numbers(page: str, first: str) -> dict[str, list[float]]:
    """The rows of the first table whose header begins with some words: by their first cell, the numbers of the others.

    Of a range, "17 to 24", it is the middle; a cell without a number is left out.
    """
    table = (DOCS / page).read_text(encoding="utf-8").split(first, 1)[1].split("\n\n", 1)[0]
    rows = {}
    for line in table.splitlines()[1:]:
        name, *cells = (cell.strip() for cell in line.strip().strip("|").split("|"))
        found = [[float(part) for part in re.findall(r"\d+(?:\.\d+)?", cell.replace(",", ""))] for cell in cells]
        if any(found) and not set(name) <= set("- :"):
            rows[name] = [sum(each) / len(each) for each in found if each]
    return rows
