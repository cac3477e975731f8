"""Files that are whole under their final name, or not there."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from dlc_deploy.errors import OutputError


@contextmanager
def whole_file(path: Path) -> Iterator[Path]:
    """A path to write to, which takes the name of ``path`` when the block ends well.

    Raises:
        OutputError: the file could not be written; a former one at ``path`` is still there.
    """
    partial = path.with_name(f".{path.name}.partial")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        yield partial
        with partial.open("rb+") as file:
            os.fsync(file.fileno())
        partial.replace(path)
    except OSError as error:
        raise OutputError(
            f"{path}: could not be written: {error}. Make room, or choose another folder; "
            "earlier files are whole."
        ) from error
    finally:
        partial.unlink(missing_ok=True)
