"""Writes Cython's declarations of the C kernels, from their header: what is declared once is mirrored nowhere.

    python tools/declare_kernels.py csrc/kernels.h build/gf_kernels.pxd

The header is plain: ``#define NAME number``, ``typedef struct { ... } name;`` with members that are numbers, pointers
and function pointers, prototypes, and an array.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path

#: How Cython calls the types of the header. There an int is always a truth value.
TYPES = {"ptrdiff_t": "Py_ssize_t", "int": "bint"}


def cython(declaration: str) -> str:
    """A C declaration in Cython's words."""
    text = re.sub(r"\b(ptrdiff_t|int)\b", lambda match: TYPES[match[0]], " ".join(declaration.split()))
    text = re.sub(r"^extern ", "", text)
    text = re.sub(r"\*const (\w+)\[\]", r"**\1", text)  # an array of unknown length is a pointer
    return text + " noexcept nogil" * ("(" in text)


def declarations(header: str) -> str:
    """The content of the .pxd file."""
    header = re.sub(r"/\*.*?\*/", "", header, flags=re.S)
    lines = ["from libc.stdint cimport uint64_t", ""] if "uint64_t" in header else []
    lines += ['cdef extern from "kernels.h" nogil:']
    constants = re.findall(r"^#define (\w+) (\d+) *$", header, re.M)
    lines += ["    enum:", *(f"        {name}" for name, _ in constants)]
    header = re.sub(r"^#.*$", "", header, flags=re.M)
    for body, name in re.findall(r"typedef struct \{(.*?)\} (\w+);", header, re.S):
        members = [member.strip() for member in body.split(";") if member.strip()]
        lines += ["", f"    ctypedef struct {name}:", *(f"        {cython(member)}" for member in members)]
    rest = re.sub(r"typedef struct \{.*?\} \w+;", "", header, flags=re.S)
    lines += ["", *(f"    {cython(prototype)}" for prototype in rest.split(";") if prototype.strip())]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    source, target = map(Path, sys.argv[1:])
    target.write_text(declarations(source.read_text()))
