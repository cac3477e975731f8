from __future__ import annotations

import ast
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
LINKED = ("benchmarks", "exporters", "runtime", "training")
FOLDERS = ("dlc_deploy", *LINKED, "tests")

pytestmark = pytest.mark.skipif(
    not (ROOT / "runtime").is_dir(), reason="there is no checkout around these tests"
)


def settings():
    with (ROOT / "pyproject.toml").open("rb") as file:
        return tomllib.load(file)["tool"]["setuptools"]


def sources():
    """Every Python file once: those behind a link are found in their own folder."""
    links = {ROOT / "dlc_deploy" / name for name in LINKED}
    for folder in FOLDERS:
        yield from (p for p in (ROOT / folder).rglob("*.py") if links.isdisjoint(p.parents))


def imported(tree):
    """(first word of an absolute import, its line) of each import in a file."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((alias.name.split(".")[0], node.lineno) for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.level == 0:
            yield node.module.split(".")[0], node.lineno


def test_every_folder_of_modules_is_packaged_and_nothing_else():
    found = {"dlc_deploy"}
    for folder in LINKED:
        for init in (ROOT / folder).rglob("__init__.py"):
            parts = init.parent.relative_to(ROOT).parts
            found.add(".".join(("dlc_deploy", *parts)))
    assert set(settings()["packages"]) == found
    assert len(settings()["packages"]) == len(found)


def test_the_links_lead_to_the_folders_that_are_packaged():
    folders = settings()["package-dir"]
    assert folders == {"dlc_deploy": "dlc_deploy"} | {f"dlc_deploy.{n}": n for n in LINKED}
    for name in LINKED:
        link = ROOT / "dlc_deploy" / name
        assert link.is_symlink() and not link.readlink().is_absolute()
        assert link.resolve() == ROOT / folders[f"dlc_deploy.{name}"]


def test_no_file_imports_a_part_by_its_bare_name():
    bare = []
    count = 0
    for path in sources():
        count += 1
        for name, line in imported(ast.parse(path.read_text(encoding="utf-8"))):
            if name in LINKED:
                bare.append(f"{path.relative_to(ROOT)}:{line} imports {name}")
    assert bare == [] and count > 50


def test_the_commands_are_functions_that_exist():
    with (ROOT / "pyproject.toml").open("rb") as file:
        scripts = tomllib.load(file)["project"]["scripts"]
    functions = {
        node.name
        for node in ast.parse((ROOT / "dlc_deploy" / "command.py").read_text()).body
        if isinstance(node, ast.FunctionDef)
    }
    for target in scripts.values():
        module, _, name = target.partition(":")
        assert module == "dlc_deploy.command" and name in functions
