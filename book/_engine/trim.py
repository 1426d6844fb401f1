"""Cut down Pyodide's JavaScript: it carries all that libraries that are loaded later could need, and none are.

What is left out is referred to by nothing that stays: missing() looks. More than half of the text goes: graphics,
sound, sockets, and names for thousands of functions of the WebAssembly file. It is found by pattern, so build.py has
what came of it prove itself, and does without where it cannot.
"""

from __future__ import annotations

import re
from collections import Counter

NAME = re.compile(r"[A-Za-z_$][\w$]*")
TABLE = re.compile(r"\bvar wasmImports=\{([^{}]*)\};")
EXPORT = re.compile(r'([\w$]+)=Module\["\1"\]=wasmExports\["[\w$]+"\];')
DECLARED = re.compile(r"\bvar ((?:[\w$]+,){1000,}[\w$]+);")
PUBLIC = re.compile(r'Module\["([\w$]+)"\]=\1;')
MEMBER = re.compile(r'(?:\.|(?<!Module\[)")([\w$]+)\b')
DECLARES = re.compile(r"\b(?:var|let|const|class|function\*?)\s+([A-Za-z_$][\w$]*)")
SEVERAL = re.compile(r"\b(?:var|let) ((?:[\w$]+,)+[\w$]+);")
STRING = re.compile(r'"(?:[^"\\\n]|\\.)*"|\'(?:[^\'\\\n]|\\.)*\'')
BARE = re.compile(r"(?<![.\w$])[A-Za-z_$][\w$]*(?!\s*:)(?![\w$])")
ADAPTER = re.compile(r"var convertJsFunctionToWasm=(.*?)var bytes=(Uint8Array\.of\(.*?\));"
                     r"var module=new WebAssembly\.Module\(bytes\);")
SIGNED = re.compile(r'\b([\w$]+)\.sig="\w*";')


def trimmed(module, users, imports):
    """Return the text of Pyodide's module without what nobody uses.

    users: the texts that use the module. imports: the names that the WebAssembly file asks it for.
    """
    used = set(NAME.findall(users))
    for step in (_table, _exports, _public):
        module = step(module, used, imports)
    length = 0
    while length != len(module):
        length = len(module)
        module = _functions(module, used)
    return _adapters(module)


def missing(whole, short, imports):
    """The names that the short text refers to, or that the WebAssembly file asks for, and that only the whole has."""
    def declared(text):
        return {*DECLARES.findall(text), *(name for found in SEVERAL.findall(text) for name in found.split(","))}

    def offered(text):
        return {each.partition(":")[0] for each in TABLE.search(text)[1].split(",")}

    gone = declared(whole) - declared(short)
    return gone & set(BARE.findall(STRING.sub("", short))) | (imports & offered(whole)) - offered(short)


def _table(module, used, imports):
    """What the WebAssembly file is offered: only what it asks for."""
    def keep(found):
        kept = [each for each in found[1].split(",") if each.partition(":")[0] in imports]
        return f"var wasmImports={{{','.join(kept)}}};"
    return TABLE.sub(keep, module)


def _exports(module, used, imports):
    """Names for functions of the WebAssembly file that occur only where they are declared and assigned."""
    times = Counter(NAME.findall(module))
    unused = {name for name in EXPORT.findall(module) if times[name] == 3 and name not in used}
    module = EXPORT.sub(lambda found: "" if found[1] in unused else found[0], module)
    return DECLARED.sub(lambda found: f"var {','.join(n for n in found[1].split(',') if n not in unused)};", module)


def _public(module, used, imports):
    """What is put into the module for others, and nobody takes."""
    members = used | set(MEMBER.findall(module))
    return PUBLIC.sub(lambda found: found[0] if found[1] in members else "", module)


def _adapters(module):
    """A function of JavaScript that goes into the WebAssembly file's table needs a little module between: one for each
    signature, and not one for each of a few hundred functions."""
    return ADAPTER.sub(r"var adapters={};var convertJsFunctionToWasm=\1"
                       r"var module=adapters[sig]??=new WebAssembly.Module(\2);", module)


def _functions(module, used):
    """Library functions, each of which ends in a note of its signature, that are referred to nowhere but within."""
    times = Counter(NAME.findall(module))
    for name in SIGNED.findall(module):
        span = _span(module, name)
        if span and name not in used:
            begin, end = span
            if times[name] == NAME.findall(module[begin:end]).count(name):
                module = module[:begin] + module[end:]
    return module


def _span(module, name):
    """Where a function and the note of its signature stand, if one follows the other."""
    note = re.search(rf'(?<=[;}}]){re.escape(name)}\.sig="\w*";', module)
    if note is None:
        return None
    begin = max(module.rfind(f"{head}{name}{tail}", 0, note.start())
                for head, tail in (("var ", "="), ("function ", "("), ("async function ", "(")))
    whole = begin >= 0 and module.count(".sig=", begin, note.end()) == 1
    return (begin, note.end()) if whole else None
