"""Published weights: found on this machine, or downloaded once.

They lie in the folder of torch.hub (``~/.cache/torch/hub/checkpoints``, or below ``TORCH_HOME``),
where a file may be put by hand, or in Hugging Face's cache, where DeepLabCut leaves them.
"""

from __future__ import annotations

import hashlib
import http.client
import logging
import os
import tempfile
import urllib.parse
import urllib.request
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import torch
from torch import Tensor

from dlc_deploy.errors import SnapshotError, UnavailableError

_log = logging.getLogger(__name__)
_TIMEOUT_SECONDS = 10.0
_CHUNK_BYTES = 1 << 20
_MEGABYTE = 1e6


@dataclass(frozen=True, slots=True)
class WeightFile:
    """A file of weights that somebody published.

    Attributes:
        what: it holds, for messages.
        url: of the file.
        name: of the file in the folder of torch.hub.
        repository: on Hugging Face whose cached ``file`` does as well; None elsewhere.
        file: of ``repository``.
        digest: how its SHA-256 begins; empty where that is not known.
    """

    what: str
    url: str
    name: str
    repository: str | None = None
    file: str | None = None
    digest: str = ""

    @classmethod
    def of_torchvision(cls, what: str, url: str) -> WeightFile:
        """A file of torchvision, whose name ends with its digest (``...-a79551df.pth``)."""
        name = Path(urllib.parse.urlparse(url).path).name
        return cls(what, url, name, digest=Path(name).stem.rpartition("-")[2])

    @classmethod
    def of_hugging_face(cls, what: str, repository: str, file: str, name: str) -> WeightFile:
        """A file of a repository on Hugging Face, or its mirror in ``HF_ENDPOINT``."""
        from huggingface_hub import hf_hub_url

        return cls(what, hf_hub_url(repository, file), name, repository, file)

    @property
    def place(self) -> Path:
        """Where it is looked for and downloaded to."""
        return Path(torch.hub.get_dir()) / "checkpoints" / self.name


def locate(file: WeightFile) -> Path:
    """The path of ``file`` on this machine, which is downloaded if it is not here.

    Raises:
        UnavailableError: it is not here and cannot be downloaded.
    """
    if file.place.is_file():
        return file.place
    cached = _in_hugging_face_cache(file)
    if cached is not None:
        return cached
    try:
        if file.repository is not None and _offline():
            raise OSError("HF_HUB_OFFLINE is set")
        _download(file)
    except (OSError, http.client.HTTPException) as error:
        reason = getattr(error, "reason", error)
        raise UnavailableError(
            f"Expected {file.what}, but they are not on this machine and cannot be downloaded from "
            f"{file.url} ({reason}). Connect to the network; or download that file elsewhere and "
            f"save it as {file.place}; or train from random weights with --from-scratch "
            "(in Python: from_scratch=True of train, pretrained_backbone=False of a model)."
        ) from error
    return file.place


def read_state(path: Path, key: str | None = None) -> Mapping[str, Tensor]:
    """The state dict in a file of torch, or that under ``key`` of it; nothing is unpickled.

    Raises:
        SnapshotError: it is damaged or something else.
    """
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
        state = content if key is None else content[key]
        if not all(isinstance(value, Tensor) for value in state.values()):
            raise TypeError("not all of it are tensors")
    except Exception as error:  # Whatever torch.load stumbles over in a file of another kind.
        reason = next(iter(str(error).splitlines()), type(error).__name__)
        raise SnapshotError(
            f"{path}: expected weights, but they cannot be read ({reason}). "
            "Delete the file, so that it is downloaded again."
        ) from error
    return dict(state)


def _in_hugging_face_cache(file: WeightFile) -> Path | None:
    if file.repository is None or file.file is None:
        return None
    from huggingface_hub import try_to_load_from_cache

    cached = try_to_load_from_cache(file.repository, file.file)
    return Path(cached) if isinstance(cached, str) else None


def _offline() -> bool:
    from huggingface_hub import constants

    return bool(constants.HF_HUB_OFFLINE)


def _download(file: WeightFile) -> None:
    """Download to a file beside the final one, which it becomes when it is whole."""
    file.place.parent.mkdir(parents=True, exist_ok=True)
    request = urllib.request.Request(file.url, headers={"User-Agent": "dlc-deploy"})
    with urllib.request.urlopen(request, timeout=_TIMEOUT_SECONDS) as answer:
        length = int(answer.headers.get("Content-Length") or 0)
        _log.warning(
            "Downloading %s (%.0f MB) to %s", file.what, length / _MEGABYTE, file.place.parent
        )
        handle, partial = tempfile.mkstemp(prefix=f".{file.name}.", dir=file.place.parent)
        try:
            with os.fdopen(handle, "wb") as target:
                _copy(_chunks(answer), target, length, file.digest)
                target.flush()
                os.fsync(target.fileno())
            Path(partial).replace(file.place)
        finally:
            Path(partial).unlink(missing_ok=True)


def _chunks(answer: BinaryIO) -> Iterator[bytes]:
    while chunk := answer.read(_CHUNK_BYTES):
        yield chunk


def _copy(chunks: Iterator[bytes], target: BinaryIO, length: int, digest: str) -> None:
    done, sha256 = 0, hashlib.sha256()
    for chunk in chunks:
        target.write(chunk)
        sha256.update(chunk)
        done += len(chunk)
    if length and done != length:
        raise OSError(f"the connection ended after {done} of {length} bytes")
    if not sha256.hexdigest().startswith(digest):
        raise OSError(f"its SHA-256 does not begin with {digest}")
