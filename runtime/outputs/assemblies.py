"""DeepLabCut's ``_assemblies.pickle``: the animals of every frame, from which its tracking makes
tracklets (deeplabcut's apis/videos.py, _generate_assemblies_file)."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .track import Track


def assemblies(track: Track) -> dict[str | int, Any]:
    """The content of ``_assemblies.pickle``.

    By frame number, from 0: float64 [animals, K, 4] of x, y, score and the place of the most
    likely individual, -1 where the model does not tell them apart; frames that were not analysed or
    could not be decoded have no animals. "single" holds the unique bodyparts, float32 [U, 3] by
    frame number.
    """
    animals = _animals(track)
    unique = track.unique_bodyparts()
    seen = [row for row in range(len(track)) if row + track.start not in track.missing]
    content: dict[str | int, Any] = {"single": {}}
    if unique is not None:
        content["single"] = {row + track.start: unique[row, 0] for row in seen}
    nothing = animals[0, :0]
    content |= dict.fromkeys(range(track.start + len(track)), nothing)
    # an absent animal is negative throughout, unless it has an identity: so DeepLabCut keeps it
    there = np.logical_not(np.all(animals < 0, axis=(2, 3)))
    content |= {row + track.start: animals[row][there[row]] for row in seen}
    return content


def write_assemblies(track: Track, path: Path) -> None:
    """Write ``_assemblies.pickle``."""
    with path.open("wb") as file:
        pickle.dump(assemblies(track), file, pickle.HIGHEST_PROTOCOL)


def _animals(track: Track) -> NDArray[np.float64]:
    """Float64 [N, I, K, 4]."""
    bodyparts, identities = track.bodyparts(), track.identities()
    if identities is None:
        names = np.full(bodyparts.shape[:3], -1.0)
    else:
        names = identities.argmax(axis=3).astype(np.float64)
    return np.concatenate([bodyparts, names[..., None]], axis=3)
