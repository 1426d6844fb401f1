"""Find where the kernel has the functions of services and include, and write blkmodel/reference/services.tsv.

    python tests/tools/names.py KERNEL

KERNEL is a kernel tree at the reference tag, or a git directory whose HEAD is that tag. A module's first paragraph ends
with the files that its functions are of, as `(mm/mempool.c, mempool.h).`; a name without a directory is a header in
include/linux. Each function is looked for in these files only: as a definition, a macro, a variable, or what a macro
of the kernel makes of a shorter name (PAGEFLAG(Dirty, …) makes PageDirty).
"""

import ast
import re
import subprocess
import sys
from functools import cache
from pathlib import Path

ROOT = Path(__file__).parents[2]
ROOMS = ("blkmodel/include", "blkmodel/services")
TABLE = ROOT / "blkmodel/reference/services.tsv"
MADE = {"Page": r"^(?:__)?PAGEFLAG\({0}\b", "param_set_": r"^STANDARD_PARAM_DEF\({0}\b",
        "": r"^SYSCALL_DEFINE\d\({0}\b"}
"""How a name begins → what in the source makes the rest of it into a function."""


def kernel_files(docstring):
    """Return the kernel files that a module's docstring names at the end of its first paragraph, as paths."""
    found = re.search(r"\(([^()\s]+\.[ch](?:, [^()\s]+\.[ch])*)\)\.$", " ".join(docstring.split("\n\n")[0].split()))
    names = found[1].split(", ") if found else []
    return [name if "/" in name else f"include/linux/{name}" for name in names]


def functions(tree):
    """Return the public functions of a module's top level, and the further names that it gives to functions."""
    names = [node.name for node in tree.body if isinstance(node, ast.FunctionDef)]
    taken = {alias.asname or alias.name
             for node in tree.body if isinstance(node, ast.ImportFrom) for alias in node.names}
    for node in tree.body:
        if isinstance(node, ast.Assign) and isinstance(node.value, ast.Name) and node.value.id in {*names, *taken}:
            names += [target.id for target in node.targets if isinstance(target, ast.Name)]
    return [name for name in names if not name.startswith("_") or name.startswith("__")]


def modules():
    """Return (path below the package, syntax tree) of every module that has functions."""
    for path in sorted(path for room in ROOMS for path in (ROOT / room).rglob("*.py")):
        tree = ast.parse(path.read_text())
        if functions(tree):
            yield path.relative_to(ROOT / "blkmodel").as_posix(), tree


def line_of(name, text):
    """Return the line of a source text that defines a name; None where none does."""
    word = re.escape(name)
    forms = [rf"^[ \t]*#[ \t]*define[ \t]+{word}\b", rf"^(?:[A-Za-z_][^;{{}}()#=]*[ *])?{word}\([^;{{]*\)[^;{{=]*{{",
             rf"^[A-Za-z_][^;{{}}()#]*[ *]{word}(?:\[[^]]*\])?(?: __\w+)?[ \t]*[;=]"]
    forms += [made.format(re.escape(name.removeprefix(start)))
              for start, made in MADE.items() if name.startswith(start)]
    for form in forms:
        found = re.search(form, text, re.MULTILINE)
        if found:
            at = re.search(rf"\b{word}\b|\(", found[0])
            return text.count("\n", 0, found.start() + at.start()) + 1
    return None


@cache
def source(kernel, file):
    """Return the text of a kernel file."""
    if not (Path(kernel) / "HEAD").is_file():
        return (Path(kernel) / file).read_text()
    return subprocess.run(["git", "--git-dir", kernel, "show", f"HEAD:{file}"], capture_output=True, text=True,
                          check=True).stdout


def main(kernel):
    rows = set()
    for module, tree in modules():
        for name in functions(tree):
            places = [(file, line_of(name, source(kernel, file))) for file in kernel_files(ast.get_docstring(tree))]
            found = [(name, file, line) for file, line in places if line is not None]
            rows.update(sorted(found, key=lambda row: row[1].endswith(".h"))[:1])  # a header may have a stub
            if not found:
                print(f"{module}: {name}: not in {', '.join(file for file, _ in places) or 'any file that it names'}")
    TABLE.write_text("".join("\t".join(map(str, row)) + "\n" for row in [("name", "file", "line"), *sorted(rows)]))


if __name__ == "__main__":
    main(sys.argv[1])
