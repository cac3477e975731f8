"""The examples of ``docs/training.md``, run as they stand there but for the paths they name."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

torch = pytest.importorskip("torch")

import dlc_deploy.training  # noqa: E402
from dlc_deploy.training.config import read_config_as_dict, write_config  # noqa: E402
from dlc_deploy.training.snapshots import save_snapshot  # noqa: E402
from tests import drawn_videos, small, training_projects  # noqa: E402
from tests.reference import REFERENCE  # noqa: E402

pytestmark = pytest.mark.torch

GUIDE = Path(__file__).resolve().parents[2] / "docs" / "training.md"
SEED = REFERENCE.parent / "seed" / "pytorch-api.md"
FENCE = re.compile(r"```python3?\n(.*?)```", re.DOTALL)
ANIMALS = 2


def examples(path: Path) -> list[str]:
    return FENCE.findall(path.read_text(encoding="utf-8"))


def example(containing: str) -> str:
    """The first example with this line in it."""
    return next(code for code in examples(GUIDE) if containing in code)


def run(code: str, places: dict[str, object]) -> dict[str, object]:
    """Run an example; ``places`` are what its paths stand for. Its names afterwards."""
    for name, place in places.items():
        assert name in code, f"the example does not name {name}"
        code = code.replace(name, str(place))
    assert "/path/to" not in code, "an example's path stands for nothing"
    names: dict[str, object] = {"__name__": "example"}
    exec(compile(code, str(GUIDE), "exec"), names)
    return names


def shrink(model_config: Path) -> None:
    """Make the model a small one, that a few steps of training take no time for."""
    content = read_config_as_dict(model_config)
    drawn = small.config(top_down=content["method"] == "td")
    content["model"] = drawn["model"]
    crop = {"top_down_crop": {"width": 64, "height": 64}} if content["method"] == "td" else {}
    for mode in ("train", "inference"):
        content["data"][mode] |= crop | {"crop_sampling": None}
    content["train_settings"] |= {"epochs": 2, "batch_size": 2, "dataloader_workers": 0}
    content["runner"]["eval_interval"] = 1
    write_config(model_config, content)


@pytest.fixture
def project(tmp_path):
    config = training_projects.make_dlc_project(tmp_path / "project", images=6, size=(64, 64))
    (model,) = config.parent.glob("dlc-models-pytorch/*/*/train/pytorch_config.yaml")
    shrink(model)
    return config


@pytest.fixture
def coco(tmp_path):
    folder = training_projects.make_coco_project(
        tmp_path / "coco", individuals=ANIMALS, net_type="rtmpose_s"
    )
    shrink(folder / training_projects.COCO_CONFIG)
    return folder


def test_models_are_listed(capsys):
    run(example("available_models"), {})
    printed = capsys.readouterr().out
    assert "rtmpose_s" in printed and "ssdlite" in printed
    assert dlc_deploy.training.available_models()


def test_a_configuration_is_made_and_written(tmp_path):
    places = {"/path/to/my/config": tmp_path / "config", "/path/to/my/project": tmp_path}
    run(example("project_cfg = {"), places)
    written = read_config_as_dict(tmp_path / "config" / "pytorch_cfg.yaml")
    assert (written["net_type"], written["method"]) == ("hrnet_w32", "td")
    assert written["metadata"]["bodyparts"] == ["snout", "leftear", "rightear", "tailbase"]


def test_a_backbone_of_ones_own_is_built():
    backbone = run(example("class DummyBackbone"), {})["backbone"]
    assert backbone.stride == 3
    assert backbone(torch.zeros(1, 3, 9, 12)).shape == (1, 3, 3, 4)


def test_a_head_of_ones_own_gives_outputs_targets_and_a_loss():
    head = run(example("class DummyHead"), {})["head"]
    outputs = head(torch.zeros(1, 2048, 8, 8))
    labels = {"keypoints": torch.full((1, 1, 5, 3), 2.0)}
    targets = head.target_generator(4.0, outputs, labels)
    losses = head.get_loss(outputs, targets)
    assert set(targets) == set(outputs) == {"heatmap", "locref"}
    assert losses["total_loss"].item() > 0


def test_a_project_is_loaded(project, capsys):
    place = {"/path/to/my/project/config.yaml": project}
    loader = run(example("print(loader.model_folder)"), place)["loader"]
    assert len(loader.df) == 6
    assert (len(loader.df_train), len(loader.df_test)) == (4, 2)
    printed = capsys.readouterr().out
    assert str(loader.model_folder) in printed and str(loader.evaluation_folder) in printed


def test_datasets_of_a_project(project):
    code = example("task=Task.BOTTOM_UP")
    names = run(code, {"/path/to/my/project/config.yaml": project})
    assert (len(names["train_dataset"]), len(names["valid_dataset"])) == (4, 2)
    sample = names["valid_dataset"][0]
    assert sample["image"].shape == (3, 64, 64)
    assert sample["annotations"]["keypoints"].shape == (1, 3, 3)


def test_datasets_of_a_coco_folder(coco):
    places = {
        "/path/to/my/COCOProject": coco,
        "/path/to/my/project/experiments/pytorch_config.yaml": coco / training_projects.COCO_CONFIG,
    }
    names = run(example("get_project_parameters"), places)
    assert names["max_num_individuals"] == ANIMALS
    assert names["bodyparts"] == list(training_projects.BODYPARTS)
    assert (coco / "experiments" / "hrnet_w32" / "train" / "pytorch_cfg.yaml").is_file()
    assert len(names["train_dataset"]) == 4 * ANIMALS  # crops
    assert names["train_dataset"][0]["image"].shape == (3, 64, 64)


def test_a_coco_folder_is_trained_on(coco, tmp_path, monkeypatch):
    monkeypatch.setenv("WANDB_MODE", "offline")
    monkeypatch.setenv("WANDB_SILENT", "true")
    monkeypatch.chdir(tmp_path)
    places = {
        "/path/to/my/COCOProject": coco,
        "/path/to/my/project/experiments/pytorch_config.yaml": coco / training_projects.COCO_CONFIG,
        "cuda:2": "cpu",  # a GPU stands for what the machine has, as a path for a file
    }
    loader = run(example("WandbLogger"), places)["loader"]
    assert max(found.epochs for found in loader.snapshots()) == 2
    table = (loader.model_folder / "learning_stats.csv").read_text().splitlines()
    assert "losses/train.total_loss" in table[0] and len(table) >= 3


def test_a_project_is_trained_on_and_evaluated(project):
    place = {"/path/to/my/project/config.yaml": project}
    run(example("train_network("), place)
    run(example("evaluate_network("), place)
    results = list(project.parent.glob("evaluation-results-pytorch/*/*/*-results.csv"))
    assert len(results) == 1
    assert "test rmse" in results[0].read_text()
    assert list(project.parent.glob("evaluation-results-pytorch/**/*.png"))


def test_a_video_is_analysed(tmp_path):
    train = tmp_path / "models" / "train"
    small_model = small.config(top_down=True, individuals=ANIMALS)
    snapshot = small.write_model(train, small_model)
    snapshot.rename(train / "snapshot-100.pt")
    detector = small.detector(small_model, finds=True)
    save_snapshot(train / "detector-snapshot-100.pt", small.snapshot_of(detector))
    (tmp_path / "models" / "videos").mkdir()
    drawn_videos.write_video(tmp_path / "models" / "videos" / "test-video.mp4", 5)
    code = example("video_inference(")
    predictions = run(code, {"/path/to/my/models": tmp_path / "models"})["predictions"]
    assert len(predictions) == 5
    assert all(found["bodyparts"].shape[1:] == (3, 3) for found in predictions)
    assert max(found["bodyparts"][..., 2].max() for found in predictions) > 0


@pytest.mark.skipif(not SEED.is_file(), reason=f"no {SEED.name}; set DLC_DEPLOY_REFERENCE")
def test_the_examples_are_deeplabcuts_with_another_import_root():
    """Only the import root and what stands for a path or a project may differ."""
    given = [plain(code, "deeplabcut.pose_estimation_pytorch") for code in examples(SEED)]
    assert len(given) == 9
    shown = [plain(code, "dlc_deploy.training") for code in examples(GUIDE)]
    assert [code for code in given if code not in shown] == []


def plain(code: str, root: str) -> str:
    """Code without its import root and what it names of the reader's own."""
    code = re.sub(r"project_cfg = \{.*?\}", "project_cfg = {}", code, flags=re.DOTALL)
    code = code.replace("/Users/Jaylen/my-dlc-models", "/path/to/my/models")
    lines = [line.rstrip() for line in code.replace(root, "ROOT").strip().splitlines()]
    return json.dumps([re.sub(r"project_cfg = \{\}.*", "project_cfg = {}", line) for line in lines])
