"""``dlc-train``, with a model that trains in a blink."""

from __future__ import annotations

import json
import logging
import shlex
import shutil

import pytest
import yaml

pytest.importorskip("torch")

from dlc_deploy.command import main
from dlc_deploy.training.apis import train_network as module
from dlc_deploy.training.data import COCOLoader, DLCLoader
from dlc_deploy.training.data.dlcloader import ProjectFolders
from dlc_deploy.training.models.backbones import BACKBONES
from dlc_deploy.training.runners.base import TrainingRunner
from dlc_deploy.training.task import Task
from tests.small_training import allow_every_machine, recorded_trainings, register_small_model
from tests.training_projects import make_coco_project, make_dlc_project

pytestmark = pytest.mark.torch
QUICK = ("--from-scratch", "--device", "cpu", "--set", "data.train.crop_sampling=null")
FRACTION = 0.67


@pytest.fixture(autouse=True)
def small(monkeypatch):
    register_small_model(monkeypatch)


@pytest.fixture
def project(tmp_path):
    """A project with labels, of which nothing was made yet; its folder."""
    folder = tmp_path / "project"
    config = make_dlc_project(folder)
    for made in ("training-datasets", "dlc-models-pytorch"):
        shutil.rmtree(folder / made)
    content = yaml.safe_load(config.read_text()) | {"default_net_type": "small"}
    config.write_text(yaml.safe_dump(content))
    return folder


@pytest.fixture
def coco(tmp_path):
    """A COCO folder without a model."""
    folder = make_coco_project(tmp_path / "coco", net_type="small")
    shutil.rmtree(folder / "experiments")
    return folder


@pytest.fixture
def calls(monkeypatch):
    """What ``train`` is called with, instead of training."""
    return recorded_trainings(monkeypatch, module)


@pytest.fixture
def machine(monkeypatch):
    """A machine that has every device and precision."""
    allow_every_machine(monkeypatch, module)


def train(*words):
    return main(["train", *map(str, words)])


def refused(capsys, *words):
    """The message with which a command line is refused."""
    try:
        status = train(*words)
    except SystemExit as left:
        status = left.code
    assert status == 2
    return capsys.readouterr().err


def folder_of(project, shuffle=1):
    return DLCLoader(project, shuffle=shuffle).model_folder


def content(folder):
    return yaml.safe_load((folder / "pytorch_config.yaml").read_text())


def trained(folder, *epochs, detector=False, best=None):
    """Leave snapshots as a whole run does."""
    prefix = "snapshot-detector" if detector else "snapshot"
    for epoch in epochs:
        (folder / f"{prefix}-{'best-' if epoch == best else ''}{epoch:03}.pt").touch()


def test_a_project_is_trained_from_nothing(project, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "200")
    assert train(project, *QUICK, "--epochs", 2, "--set", "runner.eval_interval=2") == 0
    captured = capsys.readouterr()
    assert "made shuffle 1 of project: small, 4 images to train on, 2 to test" in captured.err
    folder = folder_of(project)
    snapshot = folder / "snapshot-best-002.pt"
    assert snapshot.is_file()
    *table, where, after = captured.out.splitlines()
    header, row = (line.strip("┃│").split("┃│"[number]) for number, line in enumerate(table[1:4:2]))
    assert [name.strip() for name in header[:3]] == ["snapshot", "train loss", "test loss"]
    assert row[0].strip() == snapshot.name and 0 < float(row[1]) < 1
    assert where == f"snapshots in {folder}"
    assert shlex.split(after) == ["next:", "dlc-export", str(snapshot), "-o", "dots-small"]


def test_a_coco_folder_is_trained_from_nothing(coco, capsys):
    assert train(coco, *QUICK, "--net-type", "small", "--epochs", 1, "--json") == 0
    folder = coco / "experiments" / "small" / "train"
    result = json.loads(capsys.readouterr().out)
    assert result["config"] == str(folder / "pytorch_config.yaml")
    (snapshot,) = result["snapshots"]
    assert snapshot["path"] == str(folder / "snapshot-001.pt") == result["best"]["pose model"]
    assert snapshot["epoch"] == 1 and snapshot["figures"]["train loss"] > 0
    assert result["export"].endswith("-o coco-small")
    metadata = content(folder)["metadata"]
    assert metadata["individuals"] == ["idv0"] and metadata["project_path"] == str(coco.resolve())


def test_options_reach_the_training(project, calls, machine):
    options = "--epochs 7 --batch-size 3 --workers 2 --seed 9 --gpus 1,0 --max-snapshots 4"
    more = "--device cuda:1 --precision bf16 --from-scratch --logger tensorboard"
    setting = ("--set", "runner.optimizer.params.lr=2e-3", "--set", "device=cuda:7")
    assert train(project, *options.split(), *more.split(), *setting) == 0
    ((config, task, given),) = calls
    assert config == content(folder_of(project)) and task is Task.BOTTOM_UP
    settings = config["train_settings"]
    assert (settings["epochs"], settings["batch_size"]) == (7, 3)
    assert (settings["dataloader_workers"], settings["seed"]) == (2, 9)
    assert config["runner"]["gpus"] == [1, 0]
    assert config["runner"]["snapshots"]["max_snapshots"] == 4
    assert config["runner"]["optimizer"]["params"]["lr"] == 0.002
    assert config["device"] == "cuda:7" and given["device"] == "cuda:1"
    assert given["precision"] == "bf16" and given["from_scratch"] is True
    assert given["restart"] is False and given["snapshot_path"] is None
    assert given["logger_config"] == {"type": "TensorboardLogger", "run_name": "small"}
    assert config["logger"] is None  # DeepLabCut would refuse TensorBoard


def test_options_reach_the_detector(project, calls, machine):
    options = "--top-down --detector-epochs 5 --workers 1 --seed 3 --gpus 0 --max-snapshots 2"
    more = "--device cuda --logger wandb"
    assert train(project, *options.split(), *more.split()) == 0
    (detector, task, boxes), (_, _, pose) = calls
    assert task is Task.DETECT and detector["model"]["type"] == "SSDLite"
    settings = detector["train_settings"]
    assert (settings["epochs"], settings["dataloader_workers"], settings["seed"]) == (5, 1, 3)
    assert detector["runner"]["gpus"] == [0]
    assert detector["runner"]["snapshots"]["max_snapshots"] == 2
    assert boxes["logger_config"] == {"type": "WandbLogger", "run_name": "small-detector"}
    assert pose["logger_config"] == {"type": "WandbLogger", "run_name": "small"}


def test_models_are_those_that_were_asked_for(project, calls):
    detector = "fasterrcnn_mobilenet_v3_large_fpn"
    assert train(project, "--net-type", "top_down_small", "--detector-type", detector) == 0
    assert train(project, "--shuffle", 4, "--net-type", "resnet_101") == 0
    first, second = content(folder_of(project)), content(folder_of(project, 4))
    assert (first["net_type"], first["method"]) == ("small", "td")
    assert first["detector"]["model"]["variant"] == detector
    assert (second["net_type"], second["method"]) == ("resnet_101", "bu")


def test_a_conditional_model_is_given_its_conditions(project, calls):
    assert train(project) == 0
    net = ("--net-type", "ctd_prenet_hrnet_w32")
    assert train(project, "--shuffle", 2, *net, "--conditions", 1) == 0
    assert content(folder_of(project, 2))["inference"]["conditions"]["shuffle"] == 1
    poses = project / "poses.json"
    poses.write_text("{}")
    assert train(project, "--shuffle", 3, *net, "--conditions", poses) == 0
    conditions = content(folder_of(project, 3))["inference"]["conditions"]
    assert conditions["filepath"] == str(poses)
    assert calls[-1][1] is Task.COND_TOP_DOWN


def test_the_training_fraction_is_chosen_by_its_index(project, calls):
    config = project / "config.yaml"
    fractions = {"TrainingFraction": [FRACTION, 0.5]}
    config.write_text(yaml.safe_dump(yaml.safe_load(config.read_text()) | fractions))
    assert train(project, "--trainset-index", 1, "--epochs", 3) == 0
    folders = ProjectFolders.read(project)
    epochs = [
        yaml.safe_load(folders.pose_config(fraction, 1).read_text())["train_settings"]["epochs"]
        for fraction in (FRACTION, 0.5)
    ]
    assert epochs == [200, 3]


def test_the_seed_decides_the_split(project, calls):
    for shuffle, seed in ((1, 5), (2, 6), (3, 5)):
        assert train(project, "--shuffle", shuffle, "--seed", seed) == 0
    one, two, three = (DLCLoader(project, shuffle=shuffle).split for shuffle in (1, 2, 3))
    assert one == three and one != two


def test_annotations_of_a_coco_folder_are_chosen_by_name(coco, calls, monkeypatch):
    folder = coco / "annotations"
    (folder / "test.json").rename(folder / "held-out.json")
    (folder / "train.json").rename(folder / "labels.json")
    seen = []
    monkeypatch.setattr(module, "train", lambda loader, *args, **more: seen.append(loader))
    names = ("--train", "labels.json")
    assert train(coco, *names, "--net-type", "small") == 0
    assert train(coco, *names, "--test", "held-out.json", "--net-type", "small") == 0
    assert [len(loader.labels("test")) for loader in seen] == [0, 2]


def test_the_folder_of_a_coco_model_is_chosen(coco, calls, tmp_path):
    assert train(coco, "--net-type", "small", "-o", tmp_path / "elsewhere") == 0
    assert content(tmp_path / "elsewhere" / "train")["net_type"] == "small"
    assert not (coco / "experiments").exists()


def test_a_configuration_that_is_there_is_taken(coco, calls):
    assert train(coco, "--net-type", "small", "--top-down", "--epochs", 3) == 0
    folder = coco / "experiments" / "top_down_small" / "train"
    assert content(folder)["train_settings"]["epochs"] == 3
    assert train(coco, "--net-type", "small", "--top-down") == 0
    assert calls[-1][0]["train_settings"]["epochs"] == 3


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("--net-type resnet_101", "net_type small instead of resnet_101"),
        ("--top-down", "method bu instead of td"),
        ("--detector-type ssdlite", "detector None instead of ssdlite"),
        ("--conditions 1", "--set inference.conditions"),
    ],
)
def test_another_model_than_the_configured_one_is_refused(project, calls, capsys, words, message):
    assert train(project) == 0
    assert message in refused(capsys, project, *words.split())
    assert len(calls) == 1


def test_a_model_that_is_trained_is_not_trained_over(project, calls, capsys):
    assert train(project, "--epochs", 4) == 0
    trained(folder_of(project), 2, 4, best=2)
    message = refused(capsys, project)
    assert "snapshot-best-002.pt" in message and "--restart" in message and len(calls) == 1


@pytest.mark.parametrize("named", [True, False], ids=["name", "path"])
def test_a_snapshot_is_gone_on_from(project, calls, named):
    assert train(project, "--epochs", 4) == 0
    trained(folder_of(project), 4)
    path = folder_of(project) / "snapshot-004.pt"
    words = ("--snapshot", path.name if named else path, "--backbone-only")
    assert train(project, *words) == 0
    given = calls[-1][2]
    assert given["snapshot_path"] == path and given["load_head_weights"] is False


def test_a_detector_that_is_trained_is_kept(project, calls, capsys):
    assert train(project, "--top-down", "--epochs", 0, "--detector-epochs", 3) == 0
    folder = folder_of(project)
    trained(folder, 3, detector=True)
    assert train(project, "--epochs", 5) == 0
    assert [task for _, task, _ in calls] == [Task.DETECT, Task.TOP_DOWN]
    trained(folder, 5)
    assert "trained already" in refused(capsys, project)
    assert train(project, "--detector-snapshot", "snapshot-detector-003.pt") == 0
    assert len(calls) == 3 and calls[-1][1] is Task.DETECT
    assert calls[-1][2]["snapshot_path"] == folder / "snapshot-detector-003.pt"


def test_a_run_that_was_cut_off_goes_on(project, capsys, monkeypatch):
    whole = TrainingRunner._begin_epoch

    def cut_off(self, epoch, loader):
        if epoch == 3:
            raise KeyboardInterrupt
        whole(self, epoch, loader)

    words = (project, *QUICK, "--epochs", 4, "--set", "runner.snapshots.save_epochs=1")
    with monkeypatch.context() as patch:
        patch.setattr(TrainingRunner, "_begin_epoch", cut_off)
        assert train(*words) == 130
    assert "resumable: the same command goes on with it" in capsys.readouterr().err
    assert (folder_of(project) / "unfinished-snapshot.pt").is_file()
    assert train(*words) == 0
    captured = capsys.readouterr()
    assert "Going on with the unfinished run at epoch 2" in captured.err
    assert "snapshot-004.pt" in captured.out
    assert not (folder_of(project) / "unfinished-snapshot.pt").exists()


def test_a_run_that_was_cut_off_before_its_first_snapshot_begins_anew(project, capsys, monkeypatch):
    def cut_off(loader, *arguments, **more):
        raise KeyboardInterrupt

    monkeypatch.setattr(module, "train", cut_off)
    assert train(project) == 130
    assert "resumable: the same command begins anew" in capsys.readouterr().err


def test_restart_begins_anew_and_loses_nothing(project, calls, capsys):
    assert train(project, "--top-down", "--epochs", 4) == 0
    folder = folder_of(project)
    trained(folder, 2, 4, best=2)
    trained(folder, 6, detector=True)
    for name in ("learning_stats.csv", "unfinished-snapshot.pt"):
        (folder / name).touch()
    assert train(project, "--restart", "--detector-epochs", 0) == 0
    assert f"moved what earlier runs left to {folder / 'earlier-1'}" in capsys.readouterr().err
    moved = {path.name for path in (folder / "earlier-1").iterdir()}
    names = {"snapshot-best-002.pt", "snapshot-004.pt", "learning_stats.csv"}
    assert moved == names | {"earlier_config.yaml"}
    assert {path.name for path in folder.glob("*.pt")} == {"snapshot-detector-006.pt"}
    assert calls[-1][1] is Task.TOP_DOWN and calls[-1][2]["restart"] is True
    trained(folder, 4)
    assert train(project, "--restart", "--detector-epochs", 0) == 0
    assert (folder / "earlier-2" / "snapshot-004.pt").is_file()


def test_models_of_a_users_own_file_are_trained(project, tmp_path):
    assert train(project, "--epochs", 0) == 0
    models = tmp_path / "my_models.py"
    models.write_text(
        "from dlc_deploy.training.models.backbones import BACKBONES\n"
        "from tests.small import SmallBackbone\n"
        "@BACKBONES.register_module\n"
        "class MyOwnBackbone(SmallBackbone):\n"
        "    pass\n"
    )
    words = (project, *QUICK, "--epochs", 1, "--set", "model.backbone.type=MyOwnBackbone")
    assert train(*words, "--register", models) == 0
    assert (folder_of(project) / "snapshot-001.pt").is_file()
    assert "MyOwnBackbone" in BACKBONES


def test_restart_moves_nothing_for_what_cannot_be_trained(project, calls, capsys):
    assert train(project, "--epochs", 4) == 0
    trained(folder_of(project), 4)
    assert "fp16" in refused(capsys, project, "--restart", "--precision=fp16", "--device=cpu")
    assert (folder_of(project) / "snapshot-004.pt").is_file() and len(calls) == 1


def test_restart_from_a_snapshot_leaves_it_where_it_is(project, calls):
    assert train(project, "--epochs", 4) == 0
    trained(folder_of(project), 4)
    assert train(project, "--restart", "--snapshot", "snapshot-004.pt") == 0
    assert calls[-1][2]["snapshot_path"].is_file()


def test_nothing_is_trained_for_no_epochs(project, calls, capsys):
    assert train(project, "--epochs", 0) == 0
    assert not calls
    told = capsys.readouterr().err
    assert f"{folder_of(project) / 'pytorch_config.yaml'} asks for 0 epochs" in told


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("--from-scratch --snapshot a.pt", "got both"),
        ("--backbone-only", "needs a --snapshot"),
        ("--snapshot nothing.pt", "(none), found no such file"),
        ("--detector-epochs 3", "small has no detector"),
        ("--detector-snapshot a.pt", "small has no detector"),
        ("--train a.json", "a DeepLabCut project, for which there is no --train"),
        ("--test a.json -o there", "there is no --test, --output"),
        ("--trainset-index 3", "expected 0 to 0"),
        ("--set train_settings.epoch=3", "did you mean epochs?"),
        ("--set epochs", "expected KEY=VALUE"),
        ("--set a={", "expected a value in YAML"),
        ("--gpus 0,a", "expected numbers of GPUs"),
        ("--gpus 0,0", "expected numbers of GPUs"),
        ("--epochs many", "expected a whole number from 0 on"),
        ("--batch-size 0", "expected a whole number from 1 on"),
        ("--net-type resnet_5000", "expected one of"),
        ("--logger csv", "invalid choice"),
    ],
)
def test_what_cannot_be_is_refused(project, calls, capsys, words, message):
    assert message in refused(capsys, project, *words.split())
    assert not calls


@pytest.mark.parametrize("words", ["--shuffle 0", "--trainset-index 0"])
def test_options_of_a_project_are_refused_for_a_coco_folder(coco, calls, capsys, words):
    message = refused(capsys, coco, *words.split())
    assert f"is a COCO folder, for which there is no {words.split()[0]}" in message


def test_a_folder_that_is_neither_is_refused(tmp_path, capsys):
    assert "got neither" in refused(capsys, tmp_path)
    assert "got no such folder" in refused(capsys, tmp_path / "nothing")


def test_one_process_makes_what_several_train_on(project, coco, capsys, monkeypatch):
    monkeypatch.setenv("WORLD_SIZE", "2")
    for source in (project, coco):
        assert "without torchrun first" in refused(capsys, source)
    assert not (project / "training-datasets").exists()


def test_other_processes_than_the_first_are_silent(project, calls, capsys, monkeypatch):
    assert train(project) == 0
    capsys.readouterr()
    monkeypatch.setenv("RANK", "1")
    assert train(project) == 0
    captured = capsys.readouterr()
    assert len(calls) == 2 and captured.out == captured.err == ""


def test_messages_go_back_to_where_they_were(project, calls):
    logger = logging.getLogger("dlc_deploy")
    before = list(logger.handlers), logger.level
    assert train(project) == 0
    assert (list(logger.handlers), logger.level) == before


def test_the_loader_of_a_coco_folder_reads_its_configuration(coco, calls):
    assert train(coco, "--net-type", "small") == 0
    path = coco / "experiments" / "small" / "train" / "pytorch_config.yaml"
    assert len(COCOLoader(coco, path).labels("train")) == 4
