"""Models of several animals, with unique bodyparts and identities, from snapshot to poses."""

from __future__ import annotations

from importlib import import_module
from types import SimpleNamespace

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("onnxruntime")

from dlc_deploy.bundle import Golden  # noqa: E402
from dlc_deploy.command import main  # noqa: E402
from dlc_deploy.errors import ConfigError, UsageError  # noqa: E402
from dlc_deploy.exporters.export import export  # noqa: E402
from dlc_deploy.exporters.samples import Samples  # noqa: E402
from dlc_deploy.grouping import PafGrouping  # noqa: E402
from dlc_deploy.poses import Poses  # noqa: E402
from dlc_deploy.runtime.estimator import load  # noqa: E402
from tests import small  # noqa: E402

pytestmark = pytest.mark.torch


def write(folder, **parts):
    content = small.config()
    small.several(content, **parts)
    return small.write_model(folder / "train", content)


@pytest.fixture(scope="module")
def bundle(tmp_path_factory):
    """A bundle of everything that a bottom-up model can have; tests do not change it."""
    folder = tmp_path_factory.mktemp("mice")
    return export(write(folder, unique=True, identity=True), output=folder / "mice")


def frames(count=2):
    return np.random.default_rng(0).integers(0, 256, (count, 96, 128, 3), dtype=np.uint8)


def test_the_manifest_says_how_peaks_become_animals(bundle):
    manifest = bundle.manifest
    assert (manifest.max_individuals, manifest.individuals) == (2, ("mouse1", "mouse2"))
    assert manifest.unique_bodyparts == ("corner",) and manifest.pose.identity
    edges = ((0, 1), (0, 2), (1, 2))
    assert manifest.pose.grouping == PafGrouping(edges=edges, individuals=2, min_affinity=0.05)


def test_frames_become_animals_unique_bodyparts_and_identities(bundle):
    with load(bundle) as pose:
        poses = pose(frames())
    assert poses.score.shape == (2, 2, 3) and poses.identity.shape == (2, 2, 3, 2)
    assert poses.unique.score.shape == (2, 1, 1) and np.isfinite(poses.unique.xy).all()
    there = np.isfinite(poses.score)
    assert there.any() and ((poses.identity[there] > 0) & (poses.identity[there] < 1)).all()
    found = poses.xy[there & (poses.score > 0)]
    # A locref of the random head may point out of the frame, but not far.
    assert len(found) >= 4 and found.min() > -64 and found.max() < 192


def test_its_golden_frame_replays(bundle, capsys):
    assert main(["verify", str(bundle.path)]) == 0
    golden = bundle.golden().poses
    assert golden.unique is not None and golden.identity is not None


@pytest.mark.parametrize(
    ("scores", "chosen"),
    [((np.nan, 0.01, 0.9, 0.95), 2), ((np.nan, 0.01), 1), ((np.nan, np.nan), 0), ((0.5, 0.9), 0)],
)
def test_the_golden_frame_shows_an_animal_where_one_does(monkeypatch, scores, chosen):
    exporting = import_module("dlc_deploy.exporters.export")
    monkeypatch.setattr(exporting, "connect", lambda *_: None)
    monkeypatch.setattr(exporting, "draft_manifest", lambda *_: None)

    def found(pipeline, plan, images):
        score = np.full((1, 2, 3), scores[images[0, 0, 0, 0]], np.float32)
        return Golden(images, Poses(np.zeros((1, 2, 3, 2), np.float32), score))

    monkeypatch.setattr(exporting, "_golden", found)
    images = tuple(np.full((4, 4, 3), number, np.uint8) for number in range(len(scores)))
    plan, source = SimpleNamespace(individuals=2), SimpleNamespace(conditions=None)
    recorders = {"pose": SimpleNamespace(calls=[])}
    golden = exporting._record_golden(source, plan, recorders, Samples(images, "video"))
    assert golden.frames[0, 0, 0, 0] == chosen


def test_another_number_of_animals_can_be_looked_for(tmp_path):
    made = export(write(tmp_path), max_individuals=4, output=tmp_path / "mice")
    assert made.manifest.max_individuals == made.manifest.pose.grouping.individuals == 4
    assert made.manifest.individuals == ("mouse1", "mouse2", "individual1", "individual2")
    with load(made) as pose:
        assert pose(frames(1)).score.shape == (1, 4, 3)


def test_fewer_animals_can_be_looked_for_at_run_time(tmp_path):
    three = export(write(tmp_path), max_individuals=3, output=tmp_path / "three")
    one = export(write(tmp_path), max_individuals=1, output=tmp_path / "one")
    with load(three, max_individuals=1) as few, load(one) as expected:
        found, wanted = few(frames()), expected(frames())
    assert wanted.score.shape == (2, 1, 3) and np.isfinite(wanted.score).any()
    np.testing.assert_allclose(found.xy, wanted.xy, atol=1e-4)
    np.testing.assert_allclose(found.score, wanted.score, atol=1e-6)


def test_a_model_that_knows_two_mice_looks_for_two(tmp_path):
    snapshot = write(tmp_path, identity=True)
    with pytest.raises(UsageError, match="tells 2 individuals apart looks for as many, got"):
        export(snapshot, max_individuals=3, output=tmp_path / "mice")


def test_an_identity_head_with_another_predictor_is_refused(tmp_path):
    content = small.config()
    small.several(content, identity=True)
    content["model"]["heads"]["identity"] = small.heatmap_head(2)
    snapshot = small.write_model(tmp_path / "train", content)
    with pytest.raises(ConfigError, match="expected an IdentityPredictor in the head identity"):
        export(snapshot, output=tmp_path / "mice")
