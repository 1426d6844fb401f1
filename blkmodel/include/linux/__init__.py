"""The headers that are the book's subject, a module each. Any other header's name leads to the module of the services
that says it stands for it: `from blkmodel.include.linux.jiffies import HZ` takes it from services/tasks/timer.py."""

import ast
import re
import sys
from functools import partial
from importlib import import_module
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import ModuleType


class _Headers(MetaPathFinder, Loader):
    """Asked when there is no module of a name."""

    def find_spec(self, name: str, path: object = None, target: object = None) -> ModuleSpec | None:
        package, _, header = name.rpartition(".")
        if package != __name__:
            return None
        said = re.compile(rf"(?<![\w-]){re.escape(header.replace('_', '-'))}\.h\b")
        top = Path(__file__).parents[2]
        for each in sorted(top.glob("services/*/*.py")):
            if said.search((ast.get_docstring(ast.parse(each.read_text("utf8"))) or "").partition("\n\n")[0]):
                place = ".".join(each.relative_to(top.parent).with_suffix("").parts)
                return ModuleSpec(name, self, origin=str(each), loader_state=place)
        return None

    def exec_module(self, module: ModuleType) -> None:
        assert module.__spec__ is not None
        vars(module)["__getattr__"] = partial(getattr, import_module(module.__spec__.loader_state))


sys.meta_path.append(_Headers())
