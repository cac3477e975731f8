from __future__ import annotations

import importlib.metadata
import importlib.util
import json
import os
import subprocess
import sys
from types import SimpleNamespace

import pytest

import dlc_deploy
from dlc_deploy import command
from dlc_deploy.command import VERBS, main
from dlc_deploy.errors import (
    BundleError,
    DlcDeployError,
    OutputError,
    UnavailableError,
    VerificationError,
)

HEAVY = ("av", "cv2", "onnxruntime", "pandas", "scipy", "tables", "timm", "torch", "yaml")


def has(module):
    return importlib.util.find_spec(module) is not None


PRESENT = [verb for verb, (module, _) in VERBS.items() if has(module)]


def leave(*words):
    with pytest.raises(SystemExit) as left:
        main(words)
    return left.value.code


@pytest.fixture
def verb(monkeypatch):
    """Make the verb ``verify`` do something else; run it with the words given."""

    def run(work, *words):
        module = SimpleNamespace(DESCRIPTION="", add_arguments=lambda parser: None, run=work)
        monkeypatch.setattr(command, "_import_verb", lambda name: module)
        return main(["verify", *words])

    return run


def raising(error):
    def work(arguments):
        raise error

    return work


def test_every_verb_but_the_newest_is_there():
    assert set(VERBS) - set(PRESENT) <= {"demo"}


@pytest.mark.parametrize("words", [[], ["--csv"]])
def test_without_a_verb_the_usage_is_shown(capsys, words):
    assert leave(*words) == 2
    assert "VERB" in capsys.readouterr().err


def test_an_unknown_verb_is_refused_with_those_that_there_are(capsys):
    assert leave("analyse") == 2
    message = capsys.readouterr().err
    assert "analyse" in message and all(verb in message for verb in VERBS)


def test_the_version_is_that_of_the_package(capsys):
    assert leave("--version") == 0
    assert capsys.readouterr().out == f"dlc-deploy {dlc_deploy.__version__}\n"
    assert importlib.metadata.version("dlc-deploy") == dlc_deploy.__version__


def test_help_lists_every_verb(capsys):
    assert leave("--help") == 0
    shown = capsys.readouterr().out
    for name, (_, summary) in VERBS.items():
        assert name in shown and summary in shown


@pytest.mark.parametrize("name", PRESENT)
def test_every_verb_has_help(capsys, name):
    assert leave(name, "--help") == 0
    shown = capsys.readouterr().out
    assert shown.startswith(f"usage: dlc-deploy {name} ") and "--debug" in shown


@pytest.mark.parametrize("name", ["analyze", "export"])
def test_the_short_names_are_the_verbs(capsys, monkeypatch, name):
    monkeypatch.setattr(sys, "argv", [f"dlc-{name}", "--help"])
    with pytest.raises(SystemExit) as left:
        getattr(command, name)()
    assert left.value.code == 0
    assert capsys.readouterr().out.startswith(f"usage: dlc-{name} ")


CHILD = f"""
import contextlib, io, json, sys
import dlc_deploy
def heavy():
    return [name for name in {HEAVY} if name in sys.modules]
found = {{"import dlc_deploy": heavy()}}
from dlc_deploy.command import main
for verb in {PRESENT}:
    with contextlib.redirect_stdout(io.StringIO()), contextlib.suppress(SystemExit):
        main([verb, "--help"])
    found[verb] = heavy()
print(json.dumps(found))
"""


def test_neither_import_nor_help_loads_anything_heavy():
    child = subprocess.run([sys.executable, "-c", CHILD], capture_output=True, text=True)
    assert (child.returncode, child.stderr) == (0, "")
    found = json.loads(child.stdout)
    assert found == {"import dlc_deploy": []} | {verb: [] for verb in PRESENT}


def test_an_analysis_loads_no_torch(tmp_path):
    pytest.importorskip("onnxruntime")
    from tests.tiny_bundle import write_bundle, write_dot_video

    bundle = write_bundle(tmp_path / "mouse")
    video = write_dot_video(tmp_path / "dot.mp4", 3)
    words = ["analyze", str(bundle), str(video), "--labeled-video"]
    code = f"""
import sys
from dlc_deploy.command import main
assert main({words}) == 0
print([name for name in ("torch", "torchvision", "timm", "onnx") if name in sys.modules])
"""
    child = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert (child.returncode, child.stderr) == (0, "")
    assert child.stdout.splitlines()[-1] == "[]"


@pytest.mark.parametrize("name", [name for name in dlc_deploy.__all__ if name != "export"])
def test_what_is_public_can_be_had(name):
    assert getattr(dlc_deploy, name).__name__ == name
    assert name in dir(dlc_deploy)


@pytest.mark.torch
def test_export_can_be_had_where_torch_is():
    for needed in ("torch", "onnx"):
        pytest.importorskip(needed)
    assert dlc_deploy.export.__name__ == "export"


def test_a_name_that_does_not_exist_is_refused_as_python_does():
    with pytest.raises(AttributeError, match="'dlc_deploy' has no attribute 'analyse_video'"):
        dlc_deploy.analyse_video  # noqa: B018


@pytest.mark.parametrize("status", [0, 3])
def test_the_status_of_a_verb_is_the_commands(verb, status):
    assert verb(lambda arguments: status) == status


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (BundleError("no bundle"), 2),
        (UnavailableError("no device"), 2),
        (OutputError("no room"), 1),
        (VerificationError("not the same"), 3),
    ],
)
def test_an_error_of_ours_is_its_message_and_its_status(verb, capsys, error, status):
    assert verb(raising(error)) == status
    assert capsys.readouterr() == ("", f"dlc-deploy verify: {error}\n")


def test_an_unexpected_fault_is_one_message_with_the_way_to_more(verb, capsys):
    error = ZeroDivisionError("division by zero")
    error.add_note("in stage 'pose', item 3")
    assert verb(raising(error)) == 1
    out, err = capsys.readouterr()
    assert out == "" and len(err.splitlines()) == 1 and "Traceback" not in err
    assert "unexpected ZeroDivisionError: division by zero (in stage 'pose', item 3)" in err
    assert "--debug" in err


@pytest.mark.parametrize("error", [KeyError("x"), BundleError("no bundle"), DlcDeployError("y")])
def test_debug_raises_what_happened(verb, error):
    with pytest.raises(type(error)) as caught:
        verb(raising(error), "--debug")
    assert caught.value is error


def test_an_interruption_is_130(verb, capsys):
    assert verb(raising(KeyboardInterrupt())) == 130
    assert capsys.readouterr().err == "interrupted: nothing half-written was left behind\n"


@pytest.mark.skipif(sys.platform == "win32", reason="pipes break otherwise there")
@pytest.mark.parametrize("words", [["doctor", "--json"], ["doctor"], ["doctor", "--help"], ["-h"]])
def test_a_reader_that_left_ends_the_command_quietly(words):
    code = "import sys; from dlc_deploy.command import main; sys.exit(main())"
    child = subprocess.Popen(
        [sys.executable, "-c", code, *words],
        env={name: value for name, value in os.environ.items() if name != "PYTHONUNBUFFERED"},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    child.stdout.close()
    with child.stderr:
        assert child.stderr.read() == b""
    child.stdin.close()
    assert child.wait(timeout=30) == 141
