"""A program run to its end, with what it and all others cost meanwhile."""

from __future__ import annotations

import os
import resource
import subprocess
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from dlc_deploy.errors import DlcDeployError

from .machine import busy_seconds


@dataclass(frozen=True, slots=True)
class Finished:
    """A program that ended well.

    Attributes:
        output: its standard output.
        seconds: wall clock, from start to end.
        processor_seconds: of all its threads.
        load_average: of the minute before it.
        others_cores: cores that other programs used meanwhile, on average; None where the system
            does not tell.
    """

    output: str
    seconds: float
    processor_seconds: float
    load_average: float
    others_cores: float | None


def run_process(command: Sequence[str], *, accepted: Sequence[int] = (0,)) -> Finished:
    """Run a program; one at a time, or the processor times get mixed.

    Raises:
        DlcDeployError: it cannot be started, or ends with a status that is not accepted; with the
            end of what it said.
    """
    load, busy, used = os.getloadavg()[0], busy_seconds(), _used_by_children()
    began = time.perf_counter()
    try:
        done = subprocess.run(command, capture_output=True, text=True)
    except OSError as error:
        raise DlcDeployError(f"{command[0]}: cannot be started: {error.strerror}.") from error
    seconds, own = time.perf_counter() - began, _used_by_children() - used
    if done.returncode not in accepted:
        names = " ".join([Path(command[0]).name, *command[1:]])
        raise DlcDeployError(f"{names}: ended with {done.returncode}:\n{done.stderr[-3000:]}")
    after = busy_seconds()
    others = None if busy is None or after is None else max(0.0, (after - busy - own) / seconds)
    return Finished(done.stdout, seconds, own, load, others)


def _used_by_children() -> float:
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime
