"""Comments that say what is odd about the kernel that the model follows: `# 5.4: …`, a defect of the reference."""

import ast
import io
import tokenize
from typing import NamedTuple

from blkmodel.reference import rooms


class Comment(NamedTuple):
    """Where it stands: the function around it (nothing where there is none), the kernel file, and the module."""

    function: str
    file: str
    module: str


def comments(mark="5.4:"):
    """All comments of the package that begin with `# ` and the mark, in the order of the modules."""
    found = []
    for module in rooms.modules():
        source = rooms.path_of(module.name).read_text("utf8")
        functions = [node for node in ast.walk(ast.parse(source)) if isinstance(node, ast.FunctionDef)]
        for token in tokenize.generate_tokens(io.StringIO(source).readline):
            if token.type == tokenize.COMMENT and token.string.startswith(f"# {mark}"):
                line = token.start[0]
                around = [node.name for node in functions if node.lineno <= line <= node.end_lineno]
                found.append(Comment(around[0] if around else "", module.file, module.name))
    return found
