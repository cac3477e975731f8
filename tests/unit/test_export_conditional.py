"""Conditional top-down models: a pose is refined that the bundle's own model or somebody gives."""

from __future__ import annotations

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("onnxruntime")

from dlc_deploy.bundle import GOLDEN, Golden  # noqa: E402
from dlc_deploy.command import main  # noqa: E402
from dlc_deploy.errors import UsageError  # noqa: E402
from dlc_deploy.exporters.export import export  # noqa: E402
from dlc_deploy.poses import Poses  # noqa: E402
from dlc_deploy.runtime.estimator import load  # noqa: E402
from tests import small  # noqa: E402
from tests.tiny_bundle import seal  # noqa: E402

pytestmark = pytest.mark.torch


def refining(folder, **changed):
    """The snapshot of a model that refines poses in crops."""
    content = small.config(top_down=True) | {"method": "ctd"}
    del content["detector"]
    content["model"]["backbone"] = {"type": "SmallConditionalBackbone"}
    content["data"]["bbox_margin"] = 25
    return small.write_model(folder / "refining", content | changed)


def finding(folder, **several):
    """The snapshot of a bottom-up model of the same bodyparts; of two mice if it has parts."""
    content = small.config()
    if several:
        small.several(content, **several)
    return small.write_model(folder / "finding", content, seed=1)


@pytest.fixture(scope="module")
def bundle(tmp_path_factory):
    folder = tmp_path_factory.mktemp("conditional")
    return export(refining(folder), conditions=finding(folder), output=folder / "mouse")


@pytest.fixture(scope="module")
def alone(tmp_path_factory):
    folder = tmp_path_factory.mktemp("conditional")
    return export(refining(folder), output=folder / "mouse")


def test_the_bundle_holds_both_models(bundle):
    manifest = bundle.manifest
    assert manifest.method == "ctd" and manifest.conditions.net_type == "small"
    assert manifest.origin.conditions_snapshot == "snapshot-010.pt"
    assert manifest.pose.condition.bbox_margin == 25
    assert {"pose.onnx", "conditions.onnx"} < set(manifest.files)


def test_frames_become_refined_poses(bundle):
    images = np.random.default_rng(0).integers(0, 256, (3, 96, 128, 3), dtype=np.uint8)
    with load(bundle) as pose:
        poses = pose(images)
    assert poses.score.shape == (3, 1, 3) and np.isfinite(poses.xy).any()


@pytest.mark.parametrize("which", ["bundle", "alone"])
def test_the_golden_frame_replays_from_the_conditions_it_holds(which, request, capsys):
    made = request.getfixturevalue(which)
    golden = made.golden()
    assert golden.conditions.score.shape == golden.poses.score.shape == (1, 1, 3)
    assert main(["verify", str(made.path)]) == 0
    capsys.readouterr()


@pytest.mark.parametrize(("px", "status"), [(0.004, 0), (0.02, 3)])
def test_conditions_that_the_bundle_does_not_find_are_told(tmp_path, capsys, px, status):
    made = export(refining(tmp_path), conditions=finding(tmp_path), output=tmp_path / "mouse")
    golden = made.golden()
    given = Poses(golden.conditions.xy + np.float32(px), golden.conditions.score)
    with load(made) as pose:
        refined = pose.pipeline.refine(golden.frames, given)
    Golden(golden.frames, refined, given).save(made.path / GOLDEN)
    seal(made.path)
    assert main(["verify", str(made.path)]) == status
    assert ("conditions at most 0.028" in capsys.readouterr().err) == (status == 3)


@pytest.mark.parametrize(("individuals", "part"), [(1, "identity"), (3, "unique")])
def test_conditions_come_from_a_model_of_another_number_of_animals(
    tmp_path, capsys, individuals, part
):
    made = export(
        refining(tmp_path),
        conditions=finding(tmp_path, **{part: True}),
        max_individuals=individuals,
        output=tmp_path / "mice",
    )
    assert made.manifest.conditions.max_individuals == 2
    images = np.random.default_rng(0).integers(0, 256, (3, 96, 128, 3), dtype=np.uint8)
    with load(made) as every, load(made, max_individuals=1) as one:
        assert one.refiner.find(images).score.shape == (3, 2, 3)
        poses, best = every(images), one(images)
    assert poses.score.shape == (3, individuals, 3) and best.score.shape == (3, 1, 3)
    assert np.isfinite(best.score).any() and not np.isfinite(poses.score[:, 2:]).any()
    assert main(["verify", str(made.path)]) == 0
    capsys.readouterr()


def test_without_its_own_model_a_bundle_asks_for_conditions(alone):
    assert alone.manifest.conditions is None
    with load(alone) as pose, pytest.raises(UsageError, match="Give them with --conditions"):
        pose(np.zeros((1, 96, 128, 3), np.uint8))


def test_conditions_of_other_bodyparts_are_refused(tmp_path):
    content = small.config()
    content["metadata"]["bodyparts"] = ["nose", "leftear", "tailbase"]
    other = small.write_model(tmp_path / "other", content)
    with pytest.raises(UsageError, match=r"bodyparts of the model .* \(snout, .* got nose"):
        export(refining(tmp_path), conditions=other, output=tmp_path / "mouse")


def test_conditions_come_from_a_bottom_up_model(tmp_path):
    other = small.write_model(tmp_path / "other", small.config(top_down=True))
    with pytest.raises(UsageError, match="expected a bottom-up model to give conditions, got a td"):
        export(refining(tmp_path), conditions=other, output=tmp_path / "mouse")


def test_only_conditional_models_take_conditions(tmp_path):
    snapshot = finding(tmp_path)
    with pytest.raises(UsageError, match="takes no conditions"):
        export(snapshot, conditions=snapshot, output=tmp_path / "mouse")


def test_a_detector_for_a_conditional_model_is_refused(tmp_path):
    snapshot = refining(tmp_path)
    with pytest.raises(UsageError, match=r"conditional top-down model \(small\) has no detector"):
        export(snapshot, detector=finding(tmp_path), output=tmp_path / "mouse")
