"""A user's own building blocks, from a file or module of theirs.

Commands offer it as ``--register my_models.py``: what the file registers (``BACKBONES``, ``HEADS``,
``PREDICTORS`` and so on) a configuration can then name.
"""

from __future__ import annotations

import argparse
import importlib.util
import sys
import traceback
from pathlib import Path
from types import ModuleType

from dlc_deploy.errors import UsageError


def add_register_argument(parser: argparse._ActionsContainer) -> None:
    """``--register``, a list of what is to be executed (empty by default)."""
    parser.add_argument(
        "--register",
        action="append",
        default=[],
        metavar="FILE.py|MODULE",
        help="your own backbones, heads and so on: a Python file or module that is executed first, "
        "so name only one that you trust (may be repeated)",
    )


def register_models(source: str | Path) -> ModuleType:
    """Execute a Python file, or import a module; what it registers is known afterwards.

    Args:
        source: path of a file (``my_models.py``), or name of an importable module
            (``my_package.models``).

    Returns:
        The module.

    Raises:
        UsageError: no such file or module, or one that cannot be executed; nothing that it
            registered before it failed is taken back.
    """
    name = str(source)
    try:
        if isinstance(source, Path) or name.endswith(".py"):
            return _execute(Path(source))
        return importlib.import_module(name)
    except UsageError:
        raise
    except Exception as error:  # whatever the user's own code raises
        raise UsageError(
            f"{name}: expected a file or module that registers models, but it cannot be executed: "
            f"{_where(error)}. Mend it, or check the path."
        ) from error


def _execute(path: Path) -> ModuleType:
    """The file as a module of its stem; what it imports may lie beside it, as with ``python``."""
    if not path.is_file():
        raise UsageError(f"{path}: expected a Python file that registers models, found no file.")
    name = f"dlc_deploy_registered_{path.stem}"
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise UsageError(f"{path}: expected a Python file (.py), got another one.")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # pickles and dataclasses look a class's module up
    folder = str(path.resolve().parent)
    if folder not in sys.path:
        sys.path.append(folder)
    spec.loader.exec_module(module)
    return module


def _where(error: Exception) -> str:
    """The error, with the last line of the user's code that led to it."""
    frame = traceback.extract_tb(error.__traceback__)[-1]
    return f"{type(error).__name__}: {error} ({Path(frame.filename).name}, line {frame.lineno})"
