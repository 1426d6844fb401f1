"""Hollowing a mirror function: a shell that makes the same calls to the mirror and computes nothing.

Kept: calls to mirror functions (by module, by name, or through a structure's field, as `ops.queue_rq(...)` is), and
the locals, conditions and loops that they need. Dropped: assignments to fields and items, and statements that only
call something else (list_add, kfree, set_bit …). Whatever is returned becomes one neutral value.
"""

import ast
import inspect
import textwrap
from types import ModuleType

from blkmodel.reference import mirror
from blkmodel.sim.structure import Struct


def struct_fields():
    """The names of all fields of all structures: what a call through an operation table may be called by."""
    names, classes = set(), [Struct]
    while classes:
        cls = classes.pop()
        names.update(cls.__dict__.get("__slots__", ()))
        classes += cls.__subclasses__()
    return names


class Hollow(ast.NodeTransformer):
    """Drops from one function's syntax tree what is not needed for its calls."""

    def __init__(self, function, mirror_functions, fields, neutral):
        self.globals = function.__globals__
        self.mirror_functions = mirror_functions
        self.fields = fields
        self.neutral = neutral

    def calls_mirror(self, node):
        """Whether an expression or a statement calls a mirror function anywhere within."""
        return any(isinstance(part, ast.Call) and self._is_mirror(part.func) for part in ast.walk(node))

    def _is_mirror(self, callee):
        if isinstance(callee, ast.Name):
            return self.globals.get(callee.id) in self.mirror_functions
        if isinstance(callee, ast.Attribute):
            owner = self.globals.get(callee.value.id) if isinstance(callee.value, ast.Name) else None
            if isinstance(owner, ModuleType):
                return getattr(owner, callee.attr, None) in self.mirror_functions
            return callee.attr in self.fields
        return False

    def visit_Return(self, node):
        value = ast.Constant(self.neutral)
        if node.value is not None and self.calls_mirror(node.value):
            return [ast.Expr(node.value), ast.Return(value)]
        return ast.Return(value if node.value is not None else None)

    def visit_Expr(self, node):
        return node if self.calls_mirror(node) else None

    def visit_Assign(self, node):
        return self._assignment(node, node.targets, node.value)

    def visit_AugAssign(self, node):
        return self._assignment(node, [node.target], node.value)

    def visit_AnnAssign(self, node):
        return self._assignment(node, [node.target], node.value) if node.value else None

    def _assignment(self, node, targets, value):
        """Locals stay, also those beside fields in a tuple; of what only sets fields and items the calls stay."""
        parts = [part for target in targets for part in _leaves(target)]
        if all(isinstance(part, ast.Name) for part in parts):
            return node
        if not any(isinstance(part, ast.Name) for part in parts):
            return ast.Expr(value) if self.calls_mirror(value) else None
        if isinstance(node, ast.Assign):
            node.targets = [_Blank().visit(target) for target in targets]
        return node

    def visit_Delete(self, node):
        return None

    def visit_Assert(self, node):
        return ast.Expr(node.test) if self.calls_mirror(node.test) else None

    def visit_If(self, node):
        self.generic_visit(node)
        if node.body or node.orelse:
            node.body = node.body or [ast.Pass()]
            return node
        return ast.Expr(node.test) if self.calls_mirror(node.test) else None

    def visit_For(self, node):
        self.generic_visit(node)
        if _nothing(node.body) and not self.calls_mirror(node.iter):
            return None
        node.body = node.body or [ast.Pass()]
        return node

    def visit_While(self, node):
        self.generic_visit(node)
        if not node.body and not self.calls_mirror(node.test):
            return None
        node.body = node.body or [ast.Pass()]
        return node

    def visit_With(self, node):
        self.generic_visit(node)
        node.body = node.body or [ast.Pass()]
        return node

    def visit_Try(self, node):
        self.generic_visit(node)
        if not node.body and not node.finalbody:
            return None
        node.body = node.body or [ast.Pass()]
        for handler in node.handlers:
            handler.body = handler.body or [ast.Pass()]
        return node

    def visit_FunctionDef(self, node):
        return node

    def visit_Lambda(self, node):
        return node


class _Blank(ast.NodeTransformer):
    """Turns fields and items that are assigned to into a name that nobody reads."""

    def visit_Attribute(self, node):
        return ast.Name("_", ast.Store())

    def visit_Subscript(self, node):
        return ast.Name("_", ast.Store())


def _leaves(target):
    if isinstance(target, ast.Tuple | ast.List):
        return [leaf for part in target.elts for leaf in _leaves(part)]
    return [target.value] if isinstance(target, ast.Starred) else [target]


def _nothing(body):
    return all(isinstance(each, ast.Pass | ast.Continue | ast.Break) for each in body)


class _Unused(ast.NodeTransformer):
    """Drops assignments to locals that nobody reads, and nested functions that nobody calls."""

    def __init__(self, hollow, read):
        self.hollow = hollow
        self.read = read

    def visit_Assign(self, node):
        names = {leaf.id for target in node.targets for leaf in _leaves(target)}
        if names & self.read:
            return node
        return ast.Expr(node.value) if self.hollow.calls_mirror(node.value) else None

    def visit_AugAssign(self, node):
        if node.target.id in self.read:
            return node
        return ast.Expr(node.value) if self.hollow.calls_mirror(node.value) else None

    def visit_AnnAssign(self, node):
        return self.visit_AugAssign(node)

    def visit_FunctionDef(self, node):
        return node if node.name in self.read else None


def _tidy(function, hollow):
    """Drop what has become useless, until nothing more does."""
    while True:
        before = ast.dump(function)
        read = {part.id for part in ast.walk(function) if isinstance(part, ast.Name) and isinstance(part.ctx, ast.Load)}
        body = []
        for statement in function.body:
            kept = _Unused(hollow, read).visit(statement)
            kept = _Emptied(hollow).visit(kept) if kept is not None else None
            body += kept if isinstance(kept, list) else [kept] if kept is not None else []
        function.body = body or [ast.Pass()]
        if ast.dump(function) == before:
            return


class _Emptied(Hollow):
    """Only what a control statement becomes once its body is empty."""

    def __init__(self, hollow):
        self.globals, self.fields = hollow.globals, hollow.fields
        self.mirror_functions = hollow.mirror_functions

    def visit_Return(self, node):
        return node

    visit_Expr = visit_Assign = visit_AugAssign = visit_AnnAssign = visit_Delete = visit_Assert = visit_Return


def _without_docstring(function):
    first = function.body[0]
    if isinstance(first, ast.Expr) and isinstance(first.value, ast.Constant) and isinstance(first.value.value, str):
        function.body = function.body[1:] or [ast.Pass()]


def source_tree(function) -> ast.FunctionDef:
    """The function's syntax tree, without its docstring."""
    tree = ast.parse(textwrap.dedent(inspect.getsource(function))).body[0]
    assert isinstance(tree, ast.FunctionDef)
    _without_docstring(tree)
    return tree


def shell(function, neutral=0):
    """Return the source of a function's shell; None where the function itself does nothing but make its calls."""
    original = ast.unparse(source_tree(function))
    tree = source_tree(function)
    hollow = Hollow(function, {each.function for each in mirror.functions()}, struct_fields(), neutral)
    body = []
    for statement in tree.body:
        kept = hollow.visit(statement)
        body += kept if isinstance(kept, list) else [kept] if kept is not None else []
    tree.body = body or [ast.Pass()]
    _tidy(tree, hollow)
    text = ast.unparse(ast.fix_missing_locations(tree))
    return None if text == original else text


def returns_value(function):
    """Whether the function itself returns anything (its nested functions aside)."""
    found = False
    statements: list[ast.AST] = list(source_tree(function).body)
    while statements:
        statement = statements.pop()
        if isinstance(statement, ast.FunctionDef | ast.Lambda):
            continue
        found |= isinstance(statement, ast.Return) and statement.value is not None
        statements += [part for part in ast.iter_child_nodes(statement)
                       if isinstance(part, ast.stmt | ast.excepthandler)]
    return found


def hollow_out(function, text):
    """Put the shell's code in the function's place, for whoever holds the function."""
    namespace = dict(function.__globals__)
    exec(compile(text, f"<shell of {function.__name__}>", "exec"), namespace)
    function.__code__ = namespace[function.__name__].__code__
