from __future__ import annotations

import inspect
import re

import pytest

from dlc_deploy import command, errors
from dlc_deploy.errors import DlcDeployError

DRAWN = re.compile(r"^( *(?:[│ ]*[├└]── )?)(\w+Error) +(\d) ", re.MULTILINE)
CLASSES = {
    name: kind
    for name, kind in inspect.getmembers(errors, inspect.isclass)
    if issubclass(kind, DlcDeployError)
}


def drawing():
    """{class name: (its parent's, its exit status)} of the tree in the module's docstring."""
    found, parents = {}, {}
    for stem, name, status in DRAWN.findall(errors.__doc__):
        depth = (len(stem) - 4) // 4
        found[name] = (parents.get(depth - 1), int(status))
        parents[depth] = name
    return found


def test_the_drawn_tree_is_the_tree_of_the_classes():
    tree = {
        name: (kind.__base__.__name__ if kind is not DlcDeployError else None, kind.exit_status)
        for name, kind in CLASSES.items()
    }
    assert drawing() == tree
    assert len(tree) >= 10


@pytest.mark.parametrize("name", sorted(CLASSES))
def test_a_command_ends_with_the_status_and_one_line_of_message(monkeypatch, capsys, name):
    class Verb:
        DESCRIPTION = ""

        @staticmethod
        def add_arguments(parser):
            pass

        @staticmethod
        def run(arguments):
            raise CLASSES[name]("expected this, got that; do so.")

    monkeypatch.setattr(command, "_import_verb", lambda verb: Verb)
    assert command.main(["verify"]) == CLASSES[name].exit_status
    assert capsys.readouterr().err == "dlc-deploy verify: expected this, got that; do so.\n"
    with pytest.raises(CLASSES[name]):
        command.main(["verify", "--debug"])


@pytest.mark.parametrize(("fault", "status"), [(KeyboardInterrupt(), 130), (RuntimeError("x"), 1)])
def test_an_interruption_and_a_fault_of_ours_have_their_own_status(
    monkeypatch, capsys, fault, status
):
    def run(arguments):
        raise fault

    verb = type("Verb", (), {"DESCRIPTION": "", "add_arguments": lambda p: None, "run": run})
    monkeypatch.setattr(command, "_import_verb", lambda _: verb)
    assert command.main(["verify"]) == status
    assert "Traceback" not in capsys.readouterr().err
