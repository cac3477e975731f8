"""Results on disk: all of them whole under their final names, or none."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, fields
from pathlib import Path

import tables as hdf5

from dlc_deploy.bundle import sha256
from dlc_deploy.errors import InputError, OutputError

from .assemblies import write_assemblies
from .meta import write_meta
from .pickles import write_full_pickle
from .report import RunReport
from .tables import to_dataframe, write_csv, write_h5
from .track import Track


@dataclass(frozen=True, slots=True)
class ResultFiles:
    """Final names of the results of one video; None for what is not asked for."""

    h5: Path
    full_pickle: Path
    meta_pickle: Path
    assemblies_pickle: Path | None
    csv: Path | None
    labeled_video: Path | None
    report: Path

    @classmethod
    def of(
        cls,
        folder: Path,
        stem: str,
        scorer: str,
        *,
        csv: bool,
        labeled_video: bool,
        multi_animal: bool = False,
    ) -> ResultFiles:
        """DeepLabCut's names: stem and scorer without anything between them, but for models of its
        zoo.

        ``multi_animal`` is what :func:`dlc_deploy.runtime.outputs.track.is_multi_animal` says.
        """
        base = f"{stem}{scorer}" if scorer.startswith("DLC_") else f"{stem}_{scorer}"
        return cls(
            h5=folder / f"{base}.h5",
            full_pickle=folder / f"{base}_full.pickle",
            meta_pickle=folder / f"{base}_meta.pickle",
            assemblies_pickle=folder / f"{base}_assemblies.pickle" if multi_animal else None,
            csv=folder / f"{base}.csv" if csv else None,
            labeled_video=folder / f"{base}_labeled.mp4" if labeled_video else None,
            report=folder / f"{base}.run.json",
        )

    def paths(self) -> list[Path]:
        """All of them."""
        values = [getattr(self, entry.name) for entry in fields(self)]
        return [path for path in values if path is not None]

    def refuse_existing(self, *, overwrite: bool = False) -> None:
        """Raise if any is there already, or cannot be replaced.

        Raises:
            InputError: it names the file.
        """
        folder = next((path for path in self.paths() if path.is_dir()), None)
        if folder is not None:
            raise InputError(
                f"{folder}: expected room for a file, got a folder. Move it, or pass another -o."
            )
        existing = next((path for path in self.paths() if path.exists()), None)
        if existing is not None and not overwrite:
            raise InputError(
                f"{existing}: results are there already. Pass --overwrite, or another -o."
            )


def prepare_folder(folder: Path) -> None:
    """Make ``folder`` and try to write in it, before hours of analysis.

    Raises:
        InputError: it cannot be made or written.
    """
    probe = folder / f".probe-{os.getpid()}"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        try:
            probe.write_bytes(b"x")
        finally:
            probe.unlink(missing_ok=True)
    except OSError as error:
        raise InputError(
            f"{folder}: expected a folder to write results in, got: {error.strerror or error}. "
            "Choose another with -o."
        ) from error


def partial(path: Path) -> Path:
    """Where a file grows until it is whole."""
    return path.with_name(f".{path.name}.partial")


def write_results(files: ResultFiles, track: Track, report: RunReport) -> RunReport:
    """Write tables, pickles and report; a labelled video is expected at its partial name.

    Returns:
        The report with the checksums of the other files.

    Raises:
        OutputError: the disk is full, or another fault of writing; nothing is left behind.
    """
    with removed_on_error(files.paths()):
        table = to_dataframe(track)
        write_h5(table, partial(files.h5))
        if files.csv is not None:
            write_csv(table, partial(files.csv))
        write_full_pickle(track, partial(files.full_pickle))
        write_meta(track, report, partial(files.meta_pickle))
        if files.assemblies_pickle is not None:
            write_assemblies(track, partial(files.assemblies_pickle))
        others = [path for path in files.paths() if path != files.report]
        outputs = {path.name: sha256(partial(path)) for path in others}
        report = report.model_copy(update={"outputs": outputs})
        partial(files.report).write_text(report.model_dump_json(indent=2) + "\n", encoding="utf-8")
        for path in files.paths():
            _flush(partial(path))
        files.report.unlink(missing_ok=True)  # it would vouch for results that are being replaced
        for path in [*others, files.report]:
            partial(path).replace(path)
    return report


@contextmanager
def removed_on_error(paths: Iterable[Path]) -> Iterator[None]:
    """Take away the partial files of ``paths`` at the end, and say what went wrong with a disk."""
    try:
        yield
    except (OSError, hdf5.HDF5ExtError) as error:
        if hasattr(error, "__notes__"):  # It comes from a stage of the stream, not from writing.
            raise
        folder = next(iter(paths)).parent
        raise OutputError(
            f"{folder}: the results could not be written: {_reason(error, folder)}. Nothing was "
            "left half-written; make room or choose another -o, and run the command again."
        ) from error
    finally:
        for path in paths:
            partial(path).unlink(missing_ok=True)


def _reason(error: Exception, folder: Path) -> str:
    """HDF5 hides the reason in a traceback of its own; a full disk is the one that happens."""
    if isinstance(error, OSError) and error.errno is not None:
        return os.strerror(error.errno)
    status = os.statvfs(folder)
    if status.f_bavail * status.f_frsize < 1 << 20:
        return os.strerror(errno.ENOSPC)
    return (str(error).strip().splitlines() or [type(error).__name__])[-1]


def _flush(path: Path) -> None:
    with path.open("rb+") as file:
        os.fsync(file.fileno())
