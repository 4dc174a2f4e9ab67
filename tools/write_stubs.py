"""Writes the type stubs of the compiled modules, from their sources: beside each ``_name.pyx`` a ``_name.pyi``.

    python tools/write_stubs.py src/gradcheck_fast [DIRECTORY]

With a directory, they are written there, in the same folders.

Public is what does not begin with an underscore: functions (what they return is annotated in the source), extension
classes with their readonly attributes, named tuples, annotated constants, and the enums that a .pxd exports.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path

SCALARS = {
    "Py_ssize_t": "int", "size_t": "int", "int": "int", "bint": "bool", "double": "float", "str": "str",
    "object": "object", "": "object",
}  # fmt: skip
ENTRIES = {"double": "np.float64", "Py_ssize_t": "np.intp", "unsigned char": "np.uint8"}
HEAD = "import numpy as np\nfrom numpy.typing import NDArray\n"


def python_type(declared: str) -> str:
    """What Python calls a Cython type: ``const double[:, ::1]`` is ``NDArray[np.float64]``."""
    declared = declared.replace("const ", "").strip()
    if "[" in declared and not declared.startswith("list"):
        return f"NDArray[{ENTRIES.get(declared.partition('[')[0], 'np.void')}]"
    return SCALARS.get(declared, declared)


def parameter(declared: str) -> str:
    """One parameter of a function, as Python annotates it."""
    declared, _, default = declared.partition("=")
    kind, _, name = declared.strip().rpartition(" ")
    if name == "self":
        return name
    optional, kind = "not None" not in kind and default == "None", kind.removesuffix(" not None")
    return f"{name}: {python_type(kind)}{' | None = None' if optional else f' = {default}' if default else ''}"


def split(parameters: str) -> list[str]:
    """At the commas outside of brackets."""
    return [part for part in re.split(r",(?![^\[]*\])", " ".join(parameters.split())) if part.strip()]


def function(match: re.Match[str], indent: str = "") -> str:
    """One function, from its head in the source."""
    name, parameters, returned = match["name"], match["parameters"], match["returned"]
    listed = ", ".join(map(parameter, split(parameters)))
    return f"{indent}def {name}({listed}) -> {(returned or 'None').strip()}: ...\n"


def functions(source: str, indent: str = "") -> str:
    """The functions of a module, or the methods of a class."""
    pattern = rf"^{indent}def (?P<name>(?!_)\w+|__init__)\((?P<parameters>[^)]*)\)(?: -> (?P<returned>[^\n]*))?:$"
    return "".join(function(match, indent) for match in re.finditer(pattern, source, re.M))


def attributes(body: str) -> str:
    """The readonly attributes of an extension class; what an object is, is said after it: ``# is an int``."""
    found = ""
    for kind, names, known in re.findall(r"^    cdef readonly (\w+) ([\w, ]+?) *(?:# is an? ([^\n]+))?$", body, re.M):
        for name in names.split(","):
            found += f"    @property\n    def {name.strip()}(self) -> {known or python_type(kind)}: ...\n"
    return found


def classes(source: str, declared: str) -> str:
    """Named tuples and extension classes."""
    found = ""
    for name, body in re.findall(r"^class (\w+)\(NamedTuple\):\n((?:(?:    .*)?\n)+)", source, re.M):
        fields = "".join(f"    {field}\n" for field in re.findall(r"^    (\w+: [^\n]+)$", body, re.M))
        found += f"class {name}(NamedTuple):\n{fields}\n"
    for name, body in re.findall(r"^cdef class (\w+):\n((?:(?:    .*)?\n)+)", source, re.M):
        known = re.search(rf"^cdef class {name}:\n((?:(?:    .*)?\n)+)", declared, re.M)
        found += f"class {name}:\n{attributes((known[1] if known else '') + body)}{functions(body, '    ')}\n"
    return found


def enums(declared: str) -> str:
    """What a .pxd, or a .pyx, exports to Python."""
    found = ""
    for name, body in re.findall(r"^cpdef enum ?(\w*):[^\n]*\n((?:    .*\n)+)", declared, re.M):
        members = re.findall(r"^    (\w+) = (-?\d+)", body, re.M)
        if name:
            found += f"class {name}(IntEnum):\n" + "".join(f"    {key} = {value}\n" for key, value in members)
        else:
            found += "".join(f"{key}: int\n" for key, _ in members)
    return found


def stub(source: str, declared: str) -> str:
    """The stub of a module, from its .pyx and its .pxd."""
    constants = "".join(f"{line}\n" for line in re.findall(r"^([A-Za-z]\w*: [^=\n]+?) =", source, re.M))
    body = enums(declared + source) + classes(source, declared) + constants + functions(source)
    own = set(re.findall(r"^(?:cdef )?class (\w+)", source, re.M))
    imports = [
        f"from {module} import {name}\n"
        for module, names in re.findall(r"^from (gradcheck_fast[\w.]+) cimport (\([^)]*\)|[^\n]*)$", source, re.M)
        for name in map(str.strip, names.strip("()").split(","))
        if name not in own and re.search(rf"\b{name}\b", body) and name[:1].isupper() and not name.isupper()
    ]
    head = "from enum import IntEnum\n" * ("IntEnum" in body) + "from typing import NamedTuple\n" * (
        "NamedTuple" in body
    )
    return f"{head}{HEAD}{''.join(imports)}" + f"\n{body}" * bool(body)


if __name__ == "__main__":
    for path in sorted(Path(sys.argv[1]).rglob("_*.pyx")):
        declared = path.with_suffix(".pxd")
        target = path if len(sys.argv) < 3 else Path(sys.argv[2]) / path.relative_to(sys.argv[1])
        text = stub(path.read_text(), declared.read_text() if declared.exists() else "")
        target.parent.mkdir(parents=True, exist_ok=True)
        target.with_suffix(".pyi").write_text(text)
