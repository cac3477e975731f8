"""DeepLabCut's own tracking on the files that this package writes."""

from __future__ import annotations

import json
import os
import subprocess
from itertools import permutations
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from dlc_deploy.benchmarks.drawn import KEYPOINTS
from dlc_deploy.runtime.outputs.files import ResultFiles, write_results
from dlc_deploy.runtime.outputs.track import Track
from tests.several_mice import SCORER, draw_clip, seen, write_project
from tests.tracks import manifest, report

PYTHON = os.environ.get("DLC_DEPLOY_DEEPLABCUT")
PROGRAM = Path(__file__).resolve().parents[2] / "benchmarks/peers/deeplabcut_tracks.py"
FRAMES, MICE = 200, ("anna", "berta", "carla")

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        PYTHON is None,
        reason="set DLC_DEPLOY_DEEPLABCUT to a Python in which DeepLabCut is installed: "
        "benchmarks/peers/requirements-deeplabcut.txt",
    ),
]


@pytest.mark.parametrize("named", [False, True], ids=["plain", "unique and identity"])
def test_deeplabcut_follows_the_animals(tmp_path, named):
    pytest.importorskip("torch", reason="the project's model is configured by the training part")
    unique = ("corner1", "corner2") if named else ()
    truth = draw_clip(tmp_path / "mice.mp4", FRAMES, len(MICE))
    assert 20 < _nearest(truth) < 40  # a mouse is 50 px long
    project = write_project(tmp_path / "project", MICE, unique, identity=named)
    results = tmp_path / "results"
    results.mkdir()
    poses = seen(truth, unique=len(unique), identity=named)
    made = Track(manifest(MICE, KEYPOINTS, unique, SCORER), 0, poses)
    files = ResultFiles.of(
        results, "mice", SCORER, csv=False, labeled_video=False, multi_animal=True
    )
    write_results(files, made, report())
    found = _track(project, tmp_path / "mice.mp4", results)
    assert found["scorer"] == SCORER and found["tracklets"] >= len(MICE)
    assert set(found["tracks"]) == {*MICE, *(("single",) if named else ())}
    table = pd.read_hdf(results / found["h5"])
    assert_follows(table, truth)
    if named:
        single = table[SCORER]["single"].to_numpy().reshape(len(table), len(unique), 3)
        np.testing.assert_allclose(single[..., :2], poses.unique.xy[:, 0], atol=1e-4)


def _nearest(truth):
    """Smallest distance between the middles of two mice."""
    middle = truth.mean(axis=2)
    apart = np.linalg.norm(middle[:, :, None] - middle[:, None], axis=3)
    return apart[:, ~np.eye(truth.shape[1], dtype=bool)].min()


def _track(project, video, results):
    command = [PYTHON, str(PROGRAM), str(project), str(video), str(results)]
    ran = subprocess.run(command, capture_output=True, text=True)
    assert ran.returncode == 0, ran.stderr[-3000:]
    return json.loads(ran.stdout)


def assert_follows(table, truth):
    """One track is one animal: with the best assignment of names, nine tenths of its frames have
    the keypoints of that animal, to a few pixels."""
    mice, keypoints = truth.shape[1:3]
    names = [name for name in table.columns.unique("individuals") if name != "single"]
    tracks = np.stack(
        [table[SCORER][name].to_numpy().reshape(-1, keypoints, 3)[..., :2] for name in names], 1
    )
    assert tracks.shape == truth.shape
    distance = np.linalg.norm(tracks[:, :, None] - truth[:, None], axis=4)
    near = np.nanmean(np.where(np.isnan(distance), np.nan, distance < 5), axis=(0, 3))
    order = max(permutations(range(mice)), key=lambda order: near[range(mice), order].sum())
    own = distance[:, range(mice), order]
    there = np.isfinite(own)
    # a twentieth of the keypoints and a fiftieth of the animals were taken away
    assert there.mean() > 0.9
    assert (own[there] < 5).mean() > 0.99 and np.median(own[there]) < 2
