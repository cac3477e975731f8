"""Models of the zoo, from a stand-in for dlclibrary: no test goes to the network."""

from __future__ import annotations

import inspect
import sys
from pathlib import Path, PurePath
from types import ModuleType

import pytest
import yaml

from dlc_deploy.config import PoseConfig
from dlc_deploy.errors import ConfigError, UnavailableError, UsageError
from dlc_deploy.exporters import modelzoo
from dlc_deploy.runtime.outputs.files import ResultFiles
from dlc_deploy.training.config.superanimal import superanimal_config

QUADRUPED, HUMANS = "superanimal_quadruped", "superanimal_humanbody"
FASTER = "fasterrcnn_resnet50_fpn_v2"
MOBILE = "fasterrcnn_mobilenet_v3_large_fpn"
DATASETS = {
    QUADRUPED: (["resnet_50", "hrnet_w32", "rtmpose_s", "vit_9000"], [MOBILE, FASTER, "ssdlite"]),
    "superanimal_bird": (["resnet_50"], [MOBILE, "ssdlite"]),
    HUMANS: (["rtmpose_x"], []),
    "superanimal_fly": (["resnet_50"], []),
}


class Library(ModuleType):
    """dlclibrary's functions, which write the name of a model into its file."""

    def __init__(self):
        super().__init__("dlclibrary")
        self.downloads = []
        self.fails = None

    def get_available_datasets(self):
        return list(DATASETS)

    def get_available_models(self, dataset):
        return DATASETS[dataset][0]

    def get_available_detectors(self, dataset):
        return DATASETS[dataset][1]

    def download_huggingface_model(self, model_name, target_dir=".", rename_mapping=None):
        print("Loading....", model_name)
        self.downloads.append(model_name)
        name = f"{model_name}.pt"
        if model_name == f"{HUMANS}_rtmpose_x":
            name = rename_mapping["rtmpose-x_simcc-body7.pt"]
        (Path(target_dir) / name).write_text(model_name)
        if self.fails is not None:
            raise self.fails


@pytest.fixture
def library(monkeypatch, tmp_path):
    library = Library()
    monkeypatch.setitem(sys.modules, "dlclibrary", library)
    monkeypatch.setattr(sys, "platform", "linux")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return library


@pytest.fixture
def people(monkeypatch):
    """torchvision's detectors are not downloaded either."""
    monkeypatch.setattr(
        modelzoo, "_download_from_torchvision", lambda variant, target: target.write_text(variant)
    )


def fetch(name):
    return modelzoo.fetch(PurePath(name))


def test_a_name_is_told_from_a_path():
    assert modelzoo.is_zoo_name(PurePath("modelzoo:superanimal_bird"))
    assert not modelzoo.is_zoo_name(PurePath("modelzoo/snapshot-100.pt"))


def test_pose_model_and_detector_are_downloaded_into_the_cache_once(library, tmp_path):
    first = fetch(f"modelzoo:{QUADRUPED}/rtmpose_s+ssdlite")
    folder = tmp_path / "cache" / "dlc-deploy" / "modelzoo" / QUADRUPED
    assert first.snapshot == folder / f"{QUADRUPED}_rtmpose_s.pt"
    assert first.detector == folder / f"{QUADRUPED}_ssdlite.pt"
    assert [first.snapshot.read_text(), first.detector.read_text()] == library.downloads
    assert fetch(f"modelzoo:{QUADRUPED}/rtmpose_s+ssdlite") == first
    assert len(library.downloads) == 2
    assert sorted(folder.iterdir()) == [first.snapshot, first.detector]


@pytest.mark.parametrize(
    ("name", "pose_model", "detector"),
    [
        (QUADRUPED, "hrnet_w32", FASTER),
        (f"{QUADRUPED}/rtmpose_s", "rtmpose_s", FASTER),
        (f"{QUADRUPED}/resnet_50+ssdlite", "resnet_50", "ssdlite"),
        ("superanimal_bird", "resnet_50", MOBILE),
        (HUMANS, "rtmpose_x", MOBILE),
        (f"{HUMANS}/rtmpose_x+{FASTER}", "rtmpose_x", FASTER),
    ],
)
def test_what_is_left_out_is_deeplabcuts_choice(library, people, name, pose_model, detector):
    found = fetch(f"modelzoo:{name}")
    assert found.snapshot.stem.endswith(pose_model) and found.detector.stem.endswith(detector)
    config = PoseConfig.from_mapping(found.config, source=name)
    assert config.net_type == pose_model
    assert config.detector.model["variant"] == (None if detector == "ssdlite" else detector)


@pytest.mark.parametrize(
    "name",
    [
        "superanimal_cat",
        "superanimal_fly",
        "superanimal_bird/hrnet_w32",
        "",
        f"{QUADRUPED}/",
        f"{QUADRUPED}+ssdlite",
        f"{QUADRUPED}/hrnet_w48",
        f"{QUADRUPED}/vit_9000",
        f"{QUADRUPED}/hrnet_w32+yolo",
        f"{QUADRUPED}/hrnet_w32+ssdlite+ssdlite",
    ],
)
def test_an_unknown_name_is_answered_with_those_that_there_are(library, name):
    with pytest.raises(UsageError) as caught:
        modelzoo.resolve(library, f"modelzoo:{name}")
    text = str(caught.value)
    assert text.startswith(f"modelzoo:{name}: ") and modelzoo.SYNTAX in text
    assert f"\n  {QUADRUPED}/(hrnet_w32 | resnet_50 | rtmpose_s)+({FASTER} | {MOBILE} | " in text
    assert "\n  superanimal_bird/(resnet_50)+(" in text
    assert not library.downloads


def test_without_dlclibrary_the_line_that_installs_it_is_told(monkeypatch):
    monkeypatch.setitem(sys.modules, "dlclibrary", None)
    with pytest.raises(UnavailableError, match=r"pip install 'dlc-deploy\[modelzoo\]'"):
        fetch(f"modelzoo:{QUADRUPED}")


def test_without_network_one_message_tells_where_the_file_belongs(library, tmp_path):
    library.fails = ConnectionError("Name or service not known\nand forty more lines")
    with pytest.raises(UnavailableError) as caught:
        fetch(f"modelzoo:{QUADRUPED}/rtmpose_s+ssdlite")
    text = str(caught.value)
    assert "Name or service not known" in text and "\n" not in text
    place = tmp_path / "cache" / "dlc-deploy" / "modelzoo" / QUADRUPED / f"{QUADRUPED}_rtmpose_s.pt"
    assert str(place) in text
    assert list(place.parent.iterdir()) == []
    for path in (place, place.with_name(f"{QUADRUPED}_ssdlite.pt")):
        path.write_text("copied by hand")
    assert fetch(f"modelzoo:{QUADRUPED}/rtmpose_s+ssdlite").snapshot == place


def test_the_reason_of_a_failed_download_is_what_was_met_first(library):
    library.fails = OSError("Please check your connection and " * 10)
    library.fails.__cause__ = ConnectionError("Name or service not known")
    with pytest.raises(UnavailableError, match=r"downloaded \(Name or service not known\)"):
        fetch(f"modelzoo:{QUADRUPED}")


def test_a_download_without_the_model_is_told(library, monkeypatch):
    monkeypatch.setattr(library, "download_huggingface_model", lambda *_, **__: None)
    with pytest.raises(UnavailableError, match="could not be downloaded"):
        fetch(f"modelzoo:{QUADRUPED}")


def test_what_dlclibrary_prints_stays_out_of_the_output(library, capsys):
    fetch(f"modelzoo:{QUADRUPED}")
    captured = capsys.readouterr()
    assert captured.out == "" and "Loading...." in captured.err


@pytest.mark.parametrize(
    ("platform", "variable", "value", "folder"),
    [
        ("linux", "XDG_CACHE_HOME", "/x", "/x/dlc-deploy/modelzoo"),
        ("linux", "XDG_CACHE_HOME", "", "/home/mouse/.cache/dlc-deploy/modelzoo"),
        ("darwin", "HOME", "/home/mouse", "/home/mouse/Library/Caches/dlc-deploy/modelzoo"),
        ("win32", "LOCALAPPDATA", "/local", "/local/dlc-deploy/modelzoo"),
    ],
)
def test_the_cache_is_where_the_system_keeps_caches(monkeypatch, platform, variable, value, folder):
    monkeypatch.setattr(Path, "home", lambda: Path("/home/mouse"))
    monkeypatch.setattr(sys, "platform", platform)
    monkeypatch.setenv(variable, value)
    assert modelzoo.cache_folder() == Path(folder)


def test_the_real_dlclibrary_has_what_is_asked_of_it():
    library = pytest.importorskip("dlclibrary")
    parameters = inspect.signature(library.download_huggingface_model).parameters
    assert list(parameters)[:2] == ["model_name", "target_dir"]
    for dataset in (QUADRUPED, "superanimal_topviewmouse", "superanimal_bird"):
        assert modelzoo.resolve(library, f"modelzoo:{dataset}")[0] == dataset


@pytest.mark.parametrize(
    ("dataset", "count"),
    [(QUADRUPED, 39), ("superanimal_topviewmouse", 27), ("superanimal_bird", 42)],
)
def test_every_dataset_has_its_bodyparts(dataset, count):
    config = PoseConfig.from_mapping(superanimal_config(dataset, "resnet_50", FASTER, 3), source="")
    assert len(config.metadata.bodyparts) == len(set(config.metadata.bodyparts)) == count
    assert config.metadata.individuals == ["animal0", "animal1", "animal2"]
    assert config.model.heads["bodypart"]["heatmap_config"]["channels"] == [2048, count]
    assert config.data.inference.top_down_crop.preprocessing().width == 256
    assert config.detector.model["box_score_thresh"] == 0.6


def test_the_zoos_hrnet_refines_no_locations():
    head = superanimal_config(QUADRUPED, "hrnet_w32", FASTER, 1)["model"]["heads"]["bodypart"]
    assert head["heatmap_config"] == {"channels": [32, 39], "kernel_size": [1], "strides": [1]}
    assert "locref_config" not in head and not head["predictor"]["location_refinement"]
    assert list(head["criterion"]) == ["heatmap"]


def test_a_configuration_that_is_not_known_is_refused():
    for names in ((QUADRUPED, "vit_9000", FASTER), ("superanimal_cat", "resnet_50", FASTER)):
        with pytest.raises(ConfigError, match="Expected one of superanimal_quadruped"):
            superanimal_config(*names, 1)
    with pytest.raises(ConfigError, match="detector_type"):
        superanimal_config(QUADRUPED, "resnet_50", "yolo", 1)


@pytest.fixture
def made_snapshots(library, monkeypatch):
    """The downloader gives snapshots in the zoo's layout: ``model`` and ``metadata``."""
    torch = pytest.importorskip("torch")
    from dlc_deploy.training.models import PoseModel
    from dlc_deploy.training.models.detectors import DETECTORS

    config = superanimal_config(QUADRUPED, "rtmpose_s", "ssdlite", 1)
    modules = {
        f"{QUADRUPED}_rtmpose_s": PoseModel.build(config["model"], pretrained_backbone=False),
        f"{QUADRUPED}_ssdlite": DETECTORS.build(config["detector"]["model"], pretrained=False),
    }

    def download(model_name, target_dir):
        content = {"model": modules[model_name].state_dict(), "metadata": {"epoch": 7}}
        torch.save(content, Path(target_dir) / f"{model_name}.pt")

    monkeypatch.setattr(library, "download_huggingface_model", download)
    return modules


@pytest.mark.torch
def test_a_model_of_the_zoo_is_loaded_with_its_weights_and_its_configuration(made_snapshots):
    pytest.importorskip("onnx")
    from dlc_deploy.exporters.export import draft_manifest
    from dlc_deploy.exporters.plan import plan_graphs
    from dlc_deploy.exporters.source import load_source

    source = load_source(Path(f"modelzoo:{QUADRUPED}/rtmpose_s+ssdlite"))
    assert source.snapshot.name == f"{QUADRUPED}_rtmpose_s.pt"
    assert source.detector_snapshot.name == f"{QUADRUPED}_ssdlite.pt"
    loaded = {source.snapshot.stem: source.model, source.detector_snapshot.stem: source.detector}
    for name, module in loaded.items():
        weights = module.state_dict()
        assert weights.keys() == made_snapshots[name].state_dict().keys()
        for key, value in made_snapshots[name].state_dict().items():
            assert (weights[key] == value).all()
    assert len(source.config.metadata.bodyparts) == 39
    # As DeepLabCut's get_super_animal_scorer.
    scorer = f"{QUADRUPED}_rtmpose_s_ssdlite"
    assert draft_manifest(source, plan_graphs(source, None, 2, "fp32")).scorer == scorer
    assert PoseConfig.from_mapping(yaml.safe_load(source.config_text), source="") == source.config


@pytest.mark.parametrize(
    ("name", "folder"),
    [
        ("modelzoo:superanimal_bird", "superanimal_bird"),
        ("modelzoo:superanimal_bird/rtmpose_s+ssdlite", "superanimal_bird_rtmpose_s_ssdlite"),
    ],
)
def test_a_bundle_is_named_as_the_model(name, folder):
    assert modelzoo.folder_name(PurePath(name)) == folder


def test_results_of_the_zoos_models_are_named_as_deeplabcut_names_them(tmp_path):
    made = {
        scorer: ResultFiles.of(tmp_path, "mice", scorer, csv=False, labeled_video=False).h5.name
        for scorer in ("DLC_Net_taskshuffle1_snapshot_10", "superanimal_bird_rtmpose_s_ssdlite")
    }
    assert list(made.values()) == [
        "miceDLC_Net_taskshuffle1_snapshot_10.h5",
        "mice_superanimal_bird_rtmpose_s_ssdlite.h5",
    ]


@pytest.mark.torch
@pytest.mark.parametrize("option", ["detector", "config"])
def test_what_the_zoo_gives_is_not_to_be_given_again(library, option):
    pytest.importorskip("torch")
    from dlc_deploy.exporters.source import load_source

    with pytest.raises(UsageError, match=r"its own detector and configuration"):
        load_source(Path(f"modelzoo:{QUADRUPED}"), **{option: Path("other")})
    assert not library.downloads


@pytest.mark.torch
def test_people_are_found_by_torchvisions_detector(tmp_path, monkeypatch):
    """The weights it loads are those of torchvision's own model, and become a snapshot."""
    torch = pytest.importorskip("torch")
    from torchvision.models import detection

    from dlc_deploy.training.models.detectors import DETECTORS
    from dlc_deploy.training.snapshots import load_snapshot, load_weights

    model = detection.fasterrcnn_mobilenet_v3_large_fpn(weights=None, weights_backbone=None)
    published = {key: torch.full_like(value, 3) for key, value in model.state_dict().items()}
    weights = detection.FasterRCNN_MobileNet_V3_Large_FPN_Weights
    monkeypatch.setattr(weights, "get_state_dict", lambda *_, **__: dict(published))
    path = tmp_path / "people.pt"
    modelzoo._download_from_torchvision(MOBILE, path)
    section = superanimal_config(HUMANS, "rtmpose_x", MOBILE, 1)["detector"]["model"]
    detector = DETECTORS.build(section, pretrained=False)
    load_weights(detector, load_snapshot(path).model, "people")
    assert all((value == 3).all() for value in detector.state_dict().values())


def test_the_detector_of_people_normalises_images_itself():
    config = superanimal_config(HUMANS, "rtmpose_x", FASTER, 1)
    detector = PoseConfig.from_mapping(config, source="").detector
    assert detector.data.inference.normalization().kind == "unit"
    assert detector.model["variant"] == FASTER
    with pytest.raises(ConfigError, match="got 'ssdlite'"):
        superanimal_config(HUMANS, "rtmpose_x", "ssdlite", 1)
