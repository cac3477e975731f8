"""``dlc-deploy VERB``: one file per verb, imported only when its verb is called.

A verb's module offers

    DESCRIPTION: str
    add_arguments(parser) -> None     cheap: choices come from dlc_deploy.choices
    run(arguments) -> int             the exit status; heavy imports live in here

Errors of dlc-deploy end with their own exit status and one message, without a traceback unless
``--debug`` is given; 130 means interrupted, 141 that the reader of the output left.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable, Sequence
from importlib import import_module
from types import ModuleType
from typing import Any

from dlc_deploy import __version__
from dlc_deploy.errors import DlcDeployError

VERBS = {
    "export": ("dlc_deploy.exporters.command", "make a bundle from a snapshot"),
    "analyze": ("dlc_deploy.runtime.commands.analyze", "turn videos into poses"),
    "train": ("dlc_deploy.training.commands.train", "train a model, or go on with it"),
    "evaluate": ("dlc_deploy.training.commands.evaluate", "hold a model against its labels"),
    "verify": ("dlc_deploy.runtime.commands.verify", "check a bundle on this machine"),
    "inspect": ("dlc_deploy.runtime.commands.inspect", "show what a file holds"),
    "doctor": ("dlc_deploy.runtime.commands.doctor", "show what this machine has"),
    "demo": ("dlc_deploy.benchmarks.demo", "draw, train, export, analyse: all in two minutes"),
}
INTERRUPTED = 130
UNEXPECTED = 1
CLOSED_OUTPUT = 141


def main(arguments: Sequence[str] | None = None) -> int:
    """``dlc-deploy``: dispatch to a verb."""
    return _unless_left(_dispatch, sys.argv[1:] if arguments is None else arguments)


def export() -> int:
    """``dlc-export``."""
    return _unless_left(_run_verb, "export", sys.argv[1:], program="dlc-export")


def analyze() -> int:
    """``dlc-analyze``."""
    return _unless_left(_run_verb, "analyze", sys.argv[1:], program="dlc-analyze")


def train() -> int:
    """``dlc-train``."""
    return _unless_left(_run_verb, "train", sys.argv[1:], program="dlc-train")


def _unless_left(work: Callable[..., int], *arguments: Any, **options: Any) -> int:
    """The status of ``work``; nothing but a status where the reader of our output left."""
    try:
        try:
            return work(*arguments, **options)
        finally:
            sys.stdout.flush()
    except BrokenPipeError:
        # As head does: not worth a word, nor a second try at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return CLOSED_OUTPUT


def _dispatch(words: Sequence[str]) -> int:
    if words and words[0] in VERBS:
        return _run_verb(words[0], words[1:], program=f"dlc-deploy {words[0]}")
    parser = argparse.ArgumentParser(
        prog="dlc-deploy",
        description="DeepLabCut 3 snapshots to engines, and videos to poses.",
        epilog="\n".join(f"  {verb:<9} {summary}" for verb, (_, summary) in VERBS.items()),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"dlc-deploy {__version__}")
    parser.add_argument("verb", choices=VERBS, metavar="VERB", help="one of those below")
    parser.parse_args(words)
    return 0


def _run_verb(verb: str, words: Sequence[str], *, program: str) -> int:
    module = _import_verb(verb)
    parser = argparse.ArgumentParser(prog=program, description=module.DESCRIPTION)
    module.add_arguments(parser)
    parser.add_argument("--debug", action="store_true", help="show the traceback of an error")
    arguments = parser.parse_args(words)
    try:
        return int(module.run(arguments))
    except BrokenPipeError:
        raise
    except KeyboardInterrupt:
        print("interrupted: nothing half-written was left behind", file=sys.stderr)
        return INTERRUPTED
    except DlcDeployError as error:
        if arguments.debug:
            raise
        print(f"{program}: {error}", file=sys.stderr)
        return error.exit_status
    except Exception as error:
        if arguments.debug:
            raise
        name = type(error).__name__
        notes = "".join(f" ({note})" for note in getattr(error, "__notes__", ()))
        print(
            f"{program}: unexpected {name}: {error}{notes}. This is a fault of dlc-deploy or of "
            "this machine; --debug shows where it happened.",
            file=sys.stderr,
        )
        return UNEXPECTED


def _import_verb(verb: str) -> ModuleType:
    return import_module(VERBS[verb][0])


if __name__ == "__main__":
    sys.exit(main())
