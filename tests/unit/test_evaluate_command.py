"""The verb, on drawn projects with runners whose errors are known."""

from __future__ import annotations

import json

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from dlc_deploy.command import main  # noqa: E402
from dlc_deploy.training.inference import build  # noqa: E402
from tests.training_projects import make_coco_project, make_dlc_project  # noqa: E402

pytestmark = pytest.mark.torch


class Centred:
    """Finds three keypoints in one place."""

    def inference(self, images):
        return [{"bodyparts": np.full((1, 3, 3), 0.5, np.float32)} for _ in images]


@pytest.fixture
def asked(monkeypatch):
    options = []

    def get_inference_runners(**given):
        options.append(given)
        return Centred(), None

    monkeypatch.setattr(build, "get_inference_runners", get_inference_runners)
    return options


def project(folder, snapshots=("snapshot-010.pt",), **options):
    config = make_dlc_project(folder, **options)
    for model in (folder / "dlc-models-pytorch").rglob("train"):
        for name in snapshots:
            (model / name).touch()
    return config


def coco(folder, **options):
    make_coco_project(folder, **options)
    (folder / "experiments" / "train" / "snapshot-010.pt").touch()
    return folder


def test_a_table_and_the_paths_of_what_was_written_are_printed(tmp_path, asked, capsys):
    config = project(tmp_path / "p")
    assert main(["evaluate", str(config.parent), "--per-bodypart", "--plot"]) == 0
    text = capsys.readouterr().out
    for word in ("rmse_pcutoff", "mAP", "train", "test", "tail"):
        assert word in text
    paths = [line for line in text.splitlines() if line.startswith(str(tmp_path))]
    names = [path.rsplit("/", 1)[1] for path in paths]
    scorer = "DLC_Resnet50_dotsNov24shuffle1_snapshot_10"
    assert names == [
        f"{scorer}.h5",
        f"{scorer}-results.csv",
        "CombinedEvaluation-results.csv",
        f"{scorer}-keypoint-results.csv",
        f"LabeledImages_{scorer}",
    ]


def test_json_has_the_figures_and_null_where_there_are_none(tmp_path, asked, capsys):
    config = project(tmp_path / "p", test=0)
    arguments = ["--json", "--pcutoff", "0.3", "--batch-size", "4", "--device", "cpu"]
    assert main(["evaluate", str(config), "--snapshot", "all", *arguments]) == 0
    captured = capsys.readouterr()
    (evaluation,) = json.loads(captured.out)
    assert evaluation["pcutoff"] == 0.3 and evaluation["images"] == {"train": 6, "test": 0}
    assert evaluation["figures"]["train rmse"] > 5
    assert evaluation["figures"]["test rmse"] is None
    assert "the test set has no images" in captured.err
    assert (asked[0]["batch_size"], asked[0]["device"]) == (4, "cpu")


def test_a_coco_folder_is_known_by_its_annotations(tmp_path, asked, capsys):
    folder = coco(tmp_path / "c")
    assert main(["evaluate", str(folder), "--json"]) == 0
    (evaluation,) = json.loads(capsys.readouterr().out)
    assert evaluation["images"] == {"train": 4, "test": 2}
    (folder / "other").mkdir()
    config = folder / "experiments" / "train" / "pytorch_config.yaml"
    (folder / "other" / "pytorch_cfg.yaml").write_text(config.read_text())
    assert main(["evaluate", str(folder)]) == 2
    assert (
        "experiments/train/pytorch_config.yaml, other/pytorch_cfg.yaml" in capsys.readouterr().err
    )
    assert main(["evaluate", str(folder), "--config", str(config), "--json"]) == 0


def test_a_coco_folder_may_have_no_test_images(tmp_path, asked, capsys):
    folder = coco(tmp_path / "c", test=0)
    assert main(["evaluate", str(folder), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)[0]["images"] == {"train": 6, "test": 0}
    names = ["--train", "train.json", "--test", "train.json"]
    assert main(["evaluate", str(folder), "--json", *names]) == 0
    assert json.loads(capsys.readouterr().out)[0]["images"] == {"train": 6, "test": 6}


def test_models_of_ones_own_are_registered_first(tmp_path, asked, capsys):
    config = project(tmp_path / "p")
    models = tmp_path / "my_models.py"
    models.write_text("raise RuntimeError('executed')\n")
    assert main(["evaluate", str(config), "--register", str(models)]) != 0
    assert "executed" in capsys.readouterr().err and asked == []
    models.write_text("")
    assert main(["evaluate", str(config), "--register", str(models)]) == 0


def test_a_terminal_sees_how_far_it_is(tmp_path, asked, capsys, monkeypatch):
    config = project(tmp_path / "p")
    monkeypatch.setattr("sys.stderr.isatty", lambda: True)
    assert main(["evaluate", str(config)]) == 0
    told = capsys.readouterr().err
    assert "poses of snapshot-010" in told and "4/4" in told and "2/2" in told
    monkeypatch.setattr("sys.stderr.isatty", lambda: False)
    assert main(["evaluate", str(config)]) == 0
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--shuffle", "7"], "the project has shuffles 1"),
        (["--snapshot", "3"], "expected a snapshot with index 3, found 0: snapshot-010.pt"),
        (["--snapshot", "best"], "expected a best snapshot"),
        (["--detector-snapshot", "-1"], "for top-down models"),
        (["--config", "some.yaml"], "a DeepLabCut project, for which there is no --config"),
        (["--color-by", "individual"], "--color-by is for --plot"),
    ],
)
def test_what_a_project_does_not_have_is_told(tmp_path, asked, capsys, options, message):
    config = project(tmp_path / "p")
    assert main(["evaluate", str(config.parent), *options]) == 2
    assert message in capsys.readouterr().err


def test_folders_that_are_no_projects_and_models_without_snapshots_are_told(tmp_path, capsys):
    assert main(["evaluate", str(tmp_path)]) == 2
    assert "got neither" in capsys.readouterr().err
    assert main(["evaluate", str(tmp_path / "absent")]) == 2
    assert "no such folder" in capsys.readouterr().err
    assert main(["evaluate", str(project(tmp_path / "p", ()).parent)]) == 2
    assert "Train it first" in capsys.readouterr().err
    folder = coco(tmp_path / "c")
    assert main(["evaluate", str(folder), "--shuffle", "1"]) == 2
    assert "a COCO folder, for which there is no --shuffle" in capsys.readouterr().err
