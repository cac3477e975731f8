"""Items of datasets beside those of DeepLabCut's, for the same project, number by number."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from tests.training_projects import SCORER, image_folder, make_dlc_project, write_labels

PYTHON = os.environ.get("DLC_DEPLOY_DEEPLABCUT")
PROGRAM = Path(__file__).resolve().parents[2] / "benchmarks/peers/deeplabcut_items.py"

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        PYTHON is None,
        reason="set DLC_DEPLOY_DEEPLABCUT to a Python in which DeepLabCut is installed: "
        "benchmarks/peers/requirements-deeplabcut.txt",
    ),
]

MODELS = {
    "dlcrnet_ms5": {"unique": ("corner", "door"), "identity": True},
    "dekr_w18": {},
    "rtmpose_s": {},
}
DETECTORS = {"rtmpose_s": "ssdlite"}
NEAR = {"image": 1e-5, "area": 1e-2}
"""Floats are rounded once more or less: normalised pixels, and areas of some thousand pixels."""


@pytest.mark.parametrize("net_type", MODELS)
def test_items_are_those_of_deeplabcut(tmp_path, net_type):
    pytest.importorskip("torch")
    from dlc_deploy.training.data import DLCLoader, build_transforms
    from dlc_deploy.training.projects import create_training_dataset
    from dlc_deploy.training.task import Task

    config = make_dlc_project(tmp_path / "project", individuals=2, images=7, **MODELS[net_type])
    _damage(config.parent)
    detector = DETECTORS.get(net_type)
    create_training_dataset(config, net_type=net_type, detector_type=detector)
    command = [PYTHON, str(PROGRAM), str(config), str(tmp_path / "items.npz")]
    ran = subprocess.run(command, capture_output=True, text=True)
    assert ran.returncode == 0, ran.stderr[-3000:]
    theirs = np.load(tmp_path / "items.npz")
    loader = DLCLoader(config, shuffle=1)
    sections = {"pose": (loader.model_cfg["data"], loader.pose_task)}
    if detector is not None:
        sections["detector"] = (loader.model_cfg["detector"]["data"], Task.DETECT)
    compared = 0
    for name, (section, task) in sections.items():
        data = loader.create_dataset(build_transforms(section["inference"]), "train", task)
        for index, item in enumerate(data):
            arrays = item | item["annotations"] | item["context"]
            for key in (key for key in theirs if key.startswith(f"1/{name}/{index}/")):
                compared += 1
                _assert_same(arrays[key.rpartition("/")[2]], theirs[key], key)
    assert compared == len(theirs.files) > 50


def _assert_same(ours, theirs, key):
    name = key.rpartition("/")[2]
    if theirs.dtype.kind in "US":
        assert Path(ours).name == Path(str(theirs)).name
    elif theirs.size or np.asarray(ours).size:  # without unique bodyparts: (0, 3) and (0,)
        np.testing.assert_allclose(ours, theirs, rtol=0, atol=NEAR.get(name, 1e-4), err_msg=key)


def _damage(folder):
    """Missing keypoints, a missing animal, one at the edge, and unique bodyparts that are gone."""
    table = pd.read_hdf(image_folder(folder) / f"CollectedData_{SCORER}.h5")
    table.iloc[::2, 0:2] = np.nan
    table.iloc[1::3, 6:12] = np.nan
    table.iloc[2::3, 2] = 0.5
    table.iloc[:, 12:] = np.where(np.arange(len(table))[:, None] % 2, np.nan, table.iloc[:, 12:])
    write_labels(table, image_folder(folder))
    for made in ("training-datasets", "dlc-models-pytorch"):
        shutil.rmtree(folder / made)
