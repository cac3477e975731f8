"""Training sets beside those that DeepLabCut makes of the same project, and DeepLabCut on ours."""

from __future__ import annotations

import json
import os
import pickle
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import scipy.io
import yaml

from dlc_deploy import yaml12
from dlc_deploy.training.projects import ProjectFolders, create_training_dataset
from tests.reference import REFERENCE, needs_reference
from tests.training_projects import SCORER, VIDEO, make_dlc_project, write_labels

PYTHON = os.environ.get("DLC_DEPLOY_DEEPLABCUT")
PROGRAM = Path(__file__).resolve().parents[2] / "benchmarks/peers/deeplabcut_projects.py"
SEED, SHUFFLES = 7, 2

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        PYTHON is None,
        reason="set DLC_DEPLOY_DEEPLABCUT to a Python in which DeepLabCut is installed: "
        "benchmarks/peers/requirements-deeplabcut.txt",
    ),
]


@needs_reference
def test_the_open_field_project(tmp_path):
    ours, theirs = tmp_path / "ours", tmp_path / "theirs"
    for folder in (ours, theirs):
        (folder / "labeled-data").mkdir(parents=True)
        config = (REFERENCE / "openfield/config.yaml").read_text()
        (folder / "config.yaml").write_text(config.replace("- 0.95", "- 0.95\n- 0.8"))
        shutil.copytree(REFERENCE / "openfield/labeled-data/m4s1", folder / "labeled-data/m4s1")
    report = compare(ours, theirs, "resnet_50")
    assert report["images"] == {"train": 110, "test": 6} and report["size"] == [480, 640]


@pytest.mark.parametrize("net_type", ["dlcrnet_ms5", "dekr_w18"])
def test_a_project_of_several_animals(tmp_path, net_type):
    options = {"individuals": 2, "unique": ("corner", "door"), "identity": True, "images": 10}
    ours, theirs = tmp_path / "ours", tmp_path / "theirs"
    for folder in (ours, theirs):
        make_dlc_project(folder, **options)
        for made in ("training-datasets", "dlc-models-pytorch"):
            shutil.rmtree(folder / made)
        _damage(folder / "labeled-data" / VIDEO)
    if net_type == "dekr_w18":  # has no head for them
        for folder in (ours, theirs):
            _edit(folder / "config.yaml", identity=False)
    report = compare(ours, theirs, net_type)
    assert report["images"]["train"] == 8


def compare(ours, theirs, net_type):
    """Assert that both projects get the same files, and that DeepLabCut trains on ours."""
    splits = create_training_dataset(ours, num_shuffles=SHUFFLES, net_type=net_type, seed=SEED)
    report = _run(theirs, ours, net_type)
    mine, other = ProjectFolders.read(ours), ProjectFolders.read(theirs)
    names = sorted(path.name for path in other.training_set.iterdir())
    assert names == sorted(path.name for path in mine.training_set.iterdir())
    assert len(names) == 3 + 2 * len(splits)
    for name in names:
        assert_same_file(mine.training_set / name, other.training_set / name)
    for split in splits:
        folder = mine.model(split.train_fraction, split.shuffle)
        for path in folder.rglob("*.yaml"):
            place = path.relative_to(mine.root)
            assert _yaml(path, mine.root) == _yaml(other.root / place, other.root), place
    train, test = splits[0].indices
    assert report["split"] == {"train": train.tolist(), "test": test.tolist()}
    assert report["engine"] == "pytorch" and min(report["labels"].values()) > 0
    assert np.isfinite(report["loss"]) and report["loss"] > 0
    return report


def assert_same_file(path, other):
    """Text and lists of shuffles are equal to the byte, the others in what they hold."""
    if path.suffix == ".h5":
        pd.testing.assert_frame_equal(pd.read_hdf(path), pd.read_hdf(other))
    elif path.suffix == ".mat":
        one, two = (scipy.io.loadmat(file)["dataset"] for file in (path, other))
        assert one.dtype == two.dtype and one.shape == two.shape
        assert str(one.tolist()) == str(two.tolist())
    elif path.suffix == ".pickle":  # which string was pickled once or twice is not compared
        one, two = (pickle.loads(file.read_bytes()) for file in (path, other))
        assert type(one) is type(two) and repr(one) == repr(two)
    else:
        assert path.read_bytes() == other.read_bytes(), path.name


def _run(theirs, ours, net_type):
    command = [PYTHON, str(PROGRAM), str(theirs), str(ours), "--net-type", net_type]
    command += ["--shuffles", str(SHUFFLES), "--seed", str(SEED)]
    ran = subprocess.run(command, capture_output=True, text=True)
    assert ran.returncode == 0, ran.stderr[-3000:]
    return json.loads(ran.stdout)


def _yaml(path, root):
    """The content, without where the project lies."""
    return yaml12.load(path.read_text().replace(str(root), "ROOT"))


def _damage(folder):
    """Missing labels, an image without any, labels outside, and more than two decimals."""
    table = pd.read_hdf(folder / f"CollectedData_{SCORER}.h5")
    table.iloc[0, :6] = np.nan
    table.iloc[1, 0] = -3
    table.iloc[2, :] = np.nan
    table.iloc[3, 3] = 1.234567
    write_labels(table, folder)


def _edit(config, **changes):
    config.write_text(yaml.safe_dump(yaml.safe_load(config.read_text()) | changes))
