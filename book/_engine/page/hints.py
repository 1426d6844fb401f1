"""What an editor asks about the code in it: what may stand at a place, and what a name is. Cells ask complete() and
describe().

Nothing is run, neither the reader's code nor the model's: names are looked up, attributes are read where they are kept;
what is computed when it is asked for (a property, `__getattr__`, a call) is not asked for. Documentation is read in the
source, since the page's interpreter holds modules without it. An answer takes one look around: one namespace or module
is listed, one module's source read.

The text of a cell comes in two pieces, before the place and after it; `above` are the cells that run before this one.
"""

import ast
import builtins
import inspect
import keyword
import os
import re
import sys
from dataclasses import dataclass
from functools import lru_cache
from itertools import zip_longest
from types import (BuiltinFunctionType, ClassMethodDescriptorType, FunctionType, GetSetDescriptorType,
    MemberDescriptorType, MethodDescriptorType, MethodType, ModuleType, WrapperDescriptorType)
from typing import Any

MOST = 400  # options in one answer
LONGEST = 60_000  # letters of code that are looked through
WIDEST = 60, 400  # letters of a signature: in a list, and alone
SINGLE = r"""'(?:\\.|[^'\\\n])*'|"(?:\\.|[^"\\\n])*\""""
STRING = rf"""(?i:[rbuft]{{0,2}})(?:'{{3}}(?s:.)*?'{{3}}|"{{3}}(?s:.)*?"{{3}}|(?!'{{3}}|"{{3}})(?:{SINGLE}))"""
TOKEN = re.compile(rf"""(?P<string>{STRING})|(?P<open>'{{3}}|"{{3}}|['"])|(?P<comment>\#[^\n]*)|\w+|(?s:.)""")
FIELD = re.compile(r"\{((?:[^{}:!\[]|!=|\[[^\]]*\]?)*)\Z")  # the expression that is open in a text with fields
KEY = r"""\s*\[\s*(?:-?\d+|'[^'\\\n]*'|"[^"\\\n]*")\s*\]"""
CHAIN = re.compile(rf"(?<![\w.\"')\]])([^\W\d]\w*(?:\s*\.\s*[^\W\d]\w*|{KEY})*)\s*\Z")
LINK = re.compile(rf"{KEY}|[^\W\d]\w*")
NAME = re.compile(r"(?<![\w.])[^\W\d]\w*")
FROM = re.compile(r"\s*from\s+([\w.]+)\s+import\b\s*\(?(?:[\w\s,]*[\s,(])?")
IMPORT = re.compile(r"\s*(?:from|import)\s+(?:[\w., ]*,\s*)?([\w.]*)")
BINDS = re.compile(r"\b(def|class|as|for|global|nonlocal|lambda)\s+\Z")  # what follows is a name of the reader's own
NATIVE = BuiltinFunctionType, MethodDescriptorType, ClassMethodDescriptorType, WrapperDescriptorType
NAMELESS = {"_HAS_DEFAULT_FACTORY_CLASS": "…"}  # what a dataclass says of a default that is made each time
Names = dict[str, Any]
UNKNOWN, COMPUTED = object(), object()  # the value of what has not run; of what is computed when it is asked for


class As(str):
    """A text that stands for a default where it is written down."""

    __repr__ = str.__str__


@dataclass
class Source:
    """What the source says of a name. kind: module, class, function or value; head: of a function its name, what it
    takes and gives, of a value its type; takes: the parameters that may be given by name; others: if any other may."""

    kind: str
    doc: str = ""
    head: str = ""
    takes: tuple[str, ...] = ()
    others: bool = False


@dataclass
class Found:
    """What a name stands for: a value, or what the source says of it, where that has not run. `module` and `name` say
    where the source is, as far as the value does not."""

    value: Any = UNKNOWN
    source: Source | None = None
    module: str = ""
    name: str = ""


def complete(asked: dict[str, Any], names: Names) -> dict[str, Any] | None:
    """Return what may stand at a place: how much of it is there, and the options. None where nothing is known.

    An option has a label, a detail (parameters, a value, what kind of thing it is) and, if it is likelier than others,
    a boost. `more`: not all are here that fit what is there.
    """
    word = re.search(r"\w*\Z", asked["before"])[0]
    before = asked["before"].removesuffix(word)
    code = scan(before)
    if not code.open or word[:1].isdigit():
        return None
    options = of_import(code.line)
    if options is not None:
        pass
    elif before.rstrip().endswith("."):
        chain = CHAIN.search(before.rstrip()[:-1])
        found = chain and look_up(chain[1], asked, names)
        options = members(found) if found else {}
    elif BINDS.search(code.line):
        return None
    else:
        options = everything(before, asked, names) | arguments(code, asked, names)
    like = re.compile(".*".join(word), re.IGNORECASE)
    fit = [name for name in options if like.search(name) and (word[:1] == "_" or name[0] != "_")]
    shown = [{"label": name, **option(options[name])} for name in fit[:MOST]]
    return {"word": word, "options": shown, "more": len(fit) > MOST} if fit else None


def describe(asked: dict[str, Any], names: Names) -> dict[str, str] | None:
    """Say what the name at a place is: its signature or value, its documentation, where its source is shown. None if
    nobody knows."""
    begun = re.search(r"\w*\Z", asked["before"])[0]
    word = begun + re.match(r"\w*", asked["after"])[0]
    before = asked["before"].removesuffix(begun)
    code = scan(before)
    if not code.open or not NAME.fullmatch(word) or keyword.iskeyword(word):
        return None
    if line := FROM.fullmatch(code.line):
        found = in_module(line[1], word)
    elif line := IMPORT.fullmatch(code.line):
        found = module(line[1] + word)
    else:
        chain = CHAIN.search(before + word)
        found = chain and look_up(chain[1], asked, names)
    return told(word, found) if found else None


# Where a place is ----------------------------------------------------------------------------------------------------


@dataclass
class Scanned:
    """Code up to a place: whether that is open to names (in no string or comment), the line of its statement, in it the
    brackets that are open, and the lines before. In the line strings are empty, comments gone."""

    open: bool
    line: str
    brackets: list[int]
    lines: list[str]


@lru_cache(64)
def scan(text: str) -> Scanned:
    line, whole, to_names = "", "", True
    brackets: list[int] = []
    lines: list[str] = []
    text = text[-LONGEST:]
    for token in TOKEN.finditer(text):
        said, kind, to_names = token[0], token.lastgroup, True
        if kind == "open" and (len(said) == 3 or "\n" not in text[token.end():]):
            to_names = False  # any other ends, if badly, with its line
            fields = re.search(r"(?<!\w)(?i:r?f|fr)\Z", text[:token.start()])
            if field := fields and FIELD.search(text[token.end():].replace("{{", "").replace("}}", "")):
                inside = scan(field[1])
                return Scanned(inside.open, inside.line, inside.brackets, [*lines, whole, *inside.lines])
            break
        if kind == "comment":
            to_names = token.end() < len(text)
            continue
        if said in "([{":
            brackets.append(len(line))
        elif said in ")]}":
            del brackets[-1:]
        if said in "\n;" and not brackets:
            lines.append(whole)
            line = whole = ""
        else:
            line += '""' if kind == "string" else said
            whole += said
    return Scanned(to_names, line, brackets, [*lines, whole])


# What a name stands for ----------------------------------------------------------------------------------------------


def look_up(chain: str, asked: dict[str, Any], names: Names) -> Found | None:
    """Follow names, attributes and keys, as far as that asks nobody."""
    first, *rest = LINK.findall(chain)
    found = Found(names[first]) if first in names else None
    for text in reversed(() if found else texts(asked)):
        found = found or defined(text).get(first)
    if not found and hasattr(builtins, first):
        found = Found(getattr(builtins, first))
    for each in rest:
        if found:
            found = item(found, each) if "[" in each else attribute(found, each)
    return found


def texts(asked: dict[str, Any]) -> list[str]:
    return [*asked["above"], asked["before"] + asked["after"]]


@lru_cache(64)
def defined(text: str) -> dict[str, Found]:
    """What a cell that has not run imports and defines, by its lines: it may be half written."""
    found: dict[str, Found | None] = {}
    lines = scan(text).lines
    for line, then in zip(lines, [*lines[1:], ""], strict=True):
        if not re.match(r"\s*(from|import|def|class)\b", line):
            continue
        body = f" {then.strip()}" if re.fullmatch(STRING, then.strip()) else " ..."
        text = line.strip() + (body if line.rstrip().endswith(":") else "")
        try:
            node = ast.parse(text).body[0]
        except (SyntaxError, ValueError):
            continue
        if isinstance(node, ast.Import):
            for each in node.names:
                found[each.asname or each.name.partition(".")[0]] = module(
                    each.name if each.asname else each.name.partition(".")[0])
        elif isinstance(node, ast.ImportFrom):
            found |= {each.asname or each.name: in_module(node.module or "", each.name) for each in node.names}
        elif isinstance(node, ast.FunctionDef | ast.ClassDef):
            found[node.name] = Found(source=said_of(node, text.splitlines()))
    return {name: each for name, each in found.items() if each}


def module(name: str) -> Found | None:
    if name in sys.modules:
        return Found(sys.modules[name])
    return Found(source=definitions(path)[""], module=name) if (path := path_of(name)) else None


def in_module(place: str, name: str) -> Found | None:
    loaded = vars(sys.modules[place]) if place in sys.modules else {}
    if name in loaded:
        return Found(loaded[name], module=place, name=name)
    return in_source(place, name) or module(f"{place}.{name}")


def in_source(place: str, name: str) -> Found | None:
    source = definitions(path_of(place)).get(name)
    return Found(source=source, module=place, name=name) if source else None


def attribute(found: Found, name: str) -> Found | None:
    value = found.value
    if value is UNKNOWN:
        return in_source(found.module, f"{found.name}.{name}".lstrip("."))
    if is_a(value, ModuleType):
        return in_module(name_of(value), name)
    kept = UNKNOWN if value is COMPUTED else inspect.getattr_static(value, name, UNKNOWN)
    if kept is UNKNOWN:
        return None
    is_class = is_a(value, type)
    owner = next((each for each in classes(value) if name in vars(each)), type(value))
    place = {"module": owner.__module__, "name": f"{owner.__qualname__}.{name}"}
    if is_a(kept, MemberDescriptorType) and not is_class:
        try:
            return Found(kept.__get__(value), **place)
        except AttributeError:
            return Found(COMPUTED, **place)  # nothing is there yet
    if is_a(kept, classmethod):
        kept = MethodType(kept.__func__, value)
    elif is_a(kept, staticmethod):
        kept = kept.__func__
    elif is_a(kept, FunctionType):
        kept = kept if is_class else MethodType(kept, value)
    elif is_a(kept, MethodDescriptorType):
        kept = kept if is_class else kept.__get__(value)
    elif not is_a(kept, type) and hasattr(type(kept), "__get__") and type(kept) not in NATIVE:
        kept = COMPUTED
    return Found(kept, **place)


def item(found: Found, key: str) -> Found | None:
    """An item of a list or a dictionary, where its class lets Python's own code find it."""
    of = next((each for each in (list, tuple, dict) if is_a(found.value, each)), None)
    if not of or inspect.getattr_static(type(found.value), "__getitem__") is not vars(of)["__getitem__"]:
        return None
    try:
        return Found(of.__getitem__(found.value, ast.literal_eval(key.strip()[1:-1].strip())))
    except (LookupError, TypeError):
        return None


def is_a(value: Any, kind: Any) -> bool:
    """As isinstance(), but the value is not asked what it says of its class."""
    return issubclass(type(value), kind)


def name_of(module: ModuleType) -> str:
    return str(vars(module).get("__name__", ""))


def classes(value: Any) -> tuple[type, ...]:
    return (value if is_a(value, type) else type(value)).__mro__


# What there is -------------------------------------------------------------------------------------------------------


def of_import(line: str) -> Names | None:
    """The names that an import may go on with; None if the line is none."""
    if found := FROM.fullmatch(line):
        known = module(found[1])
        return modules(found[1]) | (members(known) if known else {})
    if re.fullmatch(r"\s*from\s+[\w.]+\s+", line):
        return {"import": ""}
    found = IMPORT.fullmatch(line)
    return modules(found[1].rpartition(".")[0]) if found else None


def modules(package: str) -> Names:
    """The modules of a package, or all that are in none."""
    found = set() if package else {"blkmodel", *sys.stdlib_module_names}
    for folder in folders(package):
        for each in os.listdir(folder):
            stem, ending = os.path.splitext(each)
            if ending == ".py" or os.path.isfile(f"{folder}/{each}/__init__.py"):
                found.add(stem)
    return {name: "module" for name in sorted(found - {"__init__"}) if name.isidentifier()}


def members(found: Found) -> Names:
    """The attributes of something, as far as they can be listed without asking it."""
    value = found.value
    if value is UNKNOWN:
        begin = f"{found.name}." if found.name else ""
        listed = [name.removeprefix(begin) for name in definitions(path_of(found.module)) if name.startswith(begin)]
    elif is_a(value, ModuleType):
        listed = [*vars(value)]
    else:
        kept = next((vars(each)["__dict__"] for each in classes(value) if "__dict__" in vars(each)), None)
        listed = [*object.__getattribute__(value, "__dict__")] if is_a(kept, GetSetDescriptorType) else []
        listed += [name for each in classes(value) for name in vars(each)]
    fit = [name for name in dict.fromkeys(listed) if is_a(name, str) and name.isidentifier()]
    return {name: each for name in fit if (each := attribute(found, name))}


def everything(before: str, asked: dict[str, Any], names: Names) -> Names:
    """All names that there are here: of the interpreter, of cells that have not run, of Python."""
    after = asked["after"][re.match(r"\w*", asked["after"]).end():]
    options: Names = dict.fromkeys(keyword.kwlist, "")
    options |= {name: Found(value) for name, value in vars(builtins).items() if name not in options}
    for text in (*asked["above"], before + after):
        words = NAME.findall(" ".join(token[0] for token in TOKEN.finditer(text[-LONGEST:]) if not token.lastgroup))
        options |= {name: "" for name in words if name not in options} | defined(text)
    return options | {name: Found(value) for name, value in names.items()}


def arguments(code: Scanned, asked: dict[str, Any], names: Names) -> Names:
    """The parameters of the function that is called here, which may be given by name and are not yet."""
    line = code.line
    at = code.brackets[-1] if code.brackets else 0
    callee = CHAIN.search(line[:at])
    if not callee or line[at] != "(" or line.rstrip()[-1] not in "(," or re.match(r"\s*(def|class)\b", line):
        return {}
    found, given = look_up(callee[1], asked, names), line[at + 1:]
    takes, others = by_name(found) if found else ({}, False)
    first = re.match(r"\s*([\w.]+)\s*,", given)
    if others and first and (handed := look_up(first[1], asked, names)):
        takes |= by_name(handed)[0]  # as live(view, …) hands on to the view what it is given
    used = re.findall(r"(\w+)\s*=(?!=)", given)
    return {f"{name}=": default for name, default in takes.items() if name not in used}


def option(found: Found | str) -> dict[str, Any]:
    """How a name is shown in a list."""
    if isinstance(found, str):
        return {"detail": short(found, WIDEST[0])} | ({"boost": 2} if isinstance(found, As) else {})
    value, kind = found.value, found.source and found.source.kind
    if is_a(value, type | ModuleType) or kind in ("class", "module"):
        detail = kind or ("class" if is_a(value, type) else "module")
    else:
        detail = parameters(found) or ("" if value is UNKNOWN else "property" if value is COMPUTED else brief(value))
    return {"detail": short(detail, WIDEST[0])}


# What it is ----------------------------------------------------------------------------------------------------------


def brief(value: Any) -> str:
    """A short value of Python's own as it is written, of any other the class."""
    kind = type(value)
    small = (kind is int and value.bit_length() <= 64) or (kind is str and len(value) < 40)
    return repr(value) if small or kind in (bool, float, type(None)) else NAMELESS.get(kind.__name__, kind.__name__)


def signature(value: Any) -> inspect.Signature | None:
    """What can be given to a function or a class. No default is asked how it is written, no annotation is evaluated."""
    bound = is_a(value, type | MethodType)
    if is_a(value, type):
        kept = [inspect.getattr_static(value, name) for name in ("__init__", "__new__")]
        kept = [each.__func__ if is_a(each, staticmethod) else each for each in kept]
        value = next((each for each in kept if is_a(each, FunctionType)), None)
    elif is_a(value, MethodType):
        value = value.__func__
    value = function_behind(value)
    if type(value) is not FunctionType:
        try:
            return inspect.signature(value) if type(value) in NATIVE else None
        except ValueError:  # its author did not say
            return None
    bare = FunctionType(value.__code__, {}, value.__name__, None, value.__closure__)
    bare.__defaults__ = tuple(As(brief(each)) for each in value.__defaults__ or ()) or None
    bare.__kwdefaults__ = {name: As(brief(each)) for name, each in (value.__kwdefaults__ or {}).items()}
    found = inspect.signature(bare)
    return found.replace(parameters=[*found.parameters.values()][1:]) if bound else found


def function_behind(value: Any) -> Any:
    """The function whose results are kept, where a function is of that kind."""
    return value.__wrapped__ if type(value).__name__ == "_lru_cache_wrapper" else value


def parameters(found: Found) -> str:
    """What a function takes, as text in parentheses; "" if it is none."""
    if found.source:
        return "".join(found.source.head.partition("(")[1:]) if found.source.kind == "function" else ""
    takes = signature(found.value)
    return str(takes) if takes else "(…)" if type(found.value) in NATIVE else ""


def by_name(found: Found) -> tuple[dict[str, str], bool]:
    """The parameters that may be given by name, with their defaults as text, and whether there may be others."""
    if found.source:
        return dict.fromkeys(found.source.takes, As()), found.source.others
    takes = signature(found.value)
    if not takes:
        return {}, False
    kinds = [each for each in takes.parameters.values() if each.kind in (each.POSITIONAL_OR_KEYWORD, each.KEYWORD_ONLY)]
    others = any(each.kind is each.VAR_KEYWORD for each in takes.parameters.values())
    return {each.name: As("" if each.default is each.empty else each.default) for each in kinds}, others


def told(word: str, found: Found) -> dict[str, str]:
    """The signature, documentation and place of what was found."""
    value, place, name, doc = found.value, found.module, found.name, ""
    behind = function_behind(value.__func__ if is_a(value, MethodType) else value)
    if is_a(behind, (FunctionType, type, *NATIVE)):
        place, name, doc = getattr(behind, "__module__", "") or "", behind.__qualname__, behind.__doc__ or ""
    elif is_a(value, ModuleType):
        place, name = name_of(value), ""
    source = found.source or definitions(path_of(place)).get(name)
    kind = source.kind if source else "value"
    if kind == "module" or is_a(value, ModuleType):
        says = f"module {place}"
    elif kind == "class" or is_a(value, type):
        says = f"class {word}{'' if value is UNKNOWN else signature(value) or ''}"
    elif kind == "function":
        gives = source.head.rpartition(") -> ")[2]
        says = source.head if value is not COMPUTED else f"{word}: {gives}"
    elif takes := parameters(found):
        says = word + takes
    else:
        now = "" if value is UNKNOWN or value is COMPUTED else brief(value)
        is_kind = now == type(value).__name__
        typed = (source.head if source else "") or now * is_kind
        says = word + f": {typed}" * bool(typed) + f" = {now}" * bool(now and not is_kind)
        if is_kind and not (source and source.doc):
            place, name = type(value).__module__, type(value).__qualname__
            source = definitions(path_of(place)).get(name) or source
    said = {"signature": short(says, WIDEST[1]), "doc": source.doc if source else inspect.cleandoc(doc)}
    if place.partition(".")[0] == "blkmodel":
        page = place.partition(".")[2].replace(".", "/")
        page = f"{page}/index" if page and folders(place) else page or "index"
        said["where"] = f"{page}.html" + (f"#{name}" if source and source.kind in ("class", "function") else "")
    return said


def short(text: str, most: int) -> str:
    return text if len(text) <= most else f"{text[:most - 1]}…"


# The source ----------------------------------------------------------------------------------------------------------


def folders(package: str) -> list[str]:
    if package in sys.modules:
        return list(vars(sys.modules[package]).get("__path__", ()))
    parent, _, name = package.rpartition(".")
    return [path for each in folders(parent) if os.path.isdir(path := f"{each}/{name}")] if parent else []


def path_of(name: str) -> str:
    """Where the source of a module is, "" if it has none. Nothing is imported to find it."""
    if name in sys.modules:
        tried = [vars(sys.modules[name]).get("__file__") or ""]
    else:
        package, _, stem = name.rpartition(".")
        tried = [path for each in folders(package) for path in (f"{each}/{stem}.py", f"{each}/{stem}/__init__.py")]
    return next((path for path in tried if path.endswith(".py") and os.path.isfile(path)), "")


@lru_cache(64)
def definitions(path: str) -> dict[str, Source]:
    """What a file defines, by qualified name; the file itself is ""."""
    found: dict[str, Source] = {}

    def visit(body: list[ast.stmt], prefix: str) -> None:
        for node, then in zip_longest(body, body[1:]):
            if isinstance(node, ast.FunctionDef | ast.ClassDef):
                found[prefix + node.name] = said_of(node, lines)
            if isinstance(node, ast.ClassDef):
                visit(node.body, f"{prefix}{node.name}.")
            if isinstance(node, ast.Assign | ast.AnnAssign):
                kind = node.annotation if isinstance(node, ast.AnnAssign) else None
                head = lines[kind.lineno - 1][kind.col_offset:kind.end_col_offset] if kind else ""
                for target in node.targets if isinstance(node, ast.Assign) else [node.target]:
                    if isinstance(target, ast.Name):
                        found[prefix + target.id] = Source("value", text_of(then), head)

    if path:
        with open(path, encoding="utf8") as file:
            text = file.read()
        lines, tree = text.splitlines(), ast.parse(text)
        found[""] = Source("module", ast.get_docstring(tree) or "")
        visit(tree.body, "")
    return found


def said_of(node: ast.FunctionDef | ast.ClassDef, lines: list[str]) -> Source:
    """What a definition says, in these lines; a method's own object is left out."""
    doc = ast.get_docstring(node) or ""
    if isinstance(node, ast.ClassDef):
        return Source("class", doc)
    first = node.body[0]
    written = lines[node.lineno - 1:first.lineno]
    written[-1] = written[-1][:first.col_offset]
    head = " ".join(each.strip() for each in written).strip().rstrip(":").removeprefix("def ")
    takes = tuple(each.arg for each in node.args.args + node.args.kwonlyargs if each.arg not in ("self", "cls"))
    return Source("function", doc, re.sub(r"\((self|cls)(, )?", "(", head, count=1), takes, bool(node.args.kwarg))


def text_of(node: ast.stmt | None) -> str:
    """The text that stands behind an assignment, and documents it."""
    is_text = isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str)
    return inspect.cleandoc(node.value.value) if is_text else ""
