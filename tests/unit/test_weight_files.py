"""Published weights, without a network: from files of the test, or not at all."""

from __future__ import annotations

import hashlib
import urllib.error
import urllib.request

import pytest

torch = pytest.importorskip("torch")

import huggingface_hub  # noqa: E402
from safetensors.torch import save_file  # noqa: E402

from dlc_deploy.errors import SnapshotError, UnavailableError  # noqa: E402
from dlc_deploy.training.models import PoseModel  # noqa: E402
from dlc_deploy.training.models.backbones import BACKBONES, build_backbone  # noqa: E402
from dlc_deploy.training.models.backbones.timm_networks import create_network  # noqa: E402
from dlc_deploy.training.models.detectors import DETECTORS  # noqa: E402
from dlc_deploy.training.models.weight_files import WeightFile, locate, read_state  # noqa: E402
from tests import small  # noqa: E402

pytestmark = pytest.mark.torch
TINY = "resnet10t"
SMALL_CSPNEXT = {"type": "CSPNeXt", "deepen_factor": 0.1, "widen_factor": 0.125}
DETECTOR_FILES = [
    ({"type": "SSDLite"}, "ssdlite320_mobilenet_v3_large_coco-a79551df.pth"),
    (
        {"type": "SSDLite", "pretrained_from_imagenet": True},
        "mobilenet_v3_large-5c1a4163.pth",
    ),
    (
        {"type": "FasterRCNN", "variant": "fasterrcnn_mobilenet_v3_large_fpn"},
        "fasterrcnn_mobilenet_v3_large_fpn-fb6a3cc7.pth",
    ),
]


@pytest.fixture
def checkpoints(monkeypatch, tmp_path):
    """An empty folder of torch.hub, an empty cache of Hugging Face, and no network."""
    attempts = []

    def unreachable(request, timeout):
        attempts.append((request.full_url, timeout))
        raise urllib.error.URLError("Name or service not known")

    monkeypatch.setattr(urllib.request, "urlopen", unreachable)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(torch.hub, "_hub_dir", str(tmp_path / "torch"))
    folder = tmp_path / "torch" / "checkpoints"
    folder.mkdir(parents=True)
    yield folder
    assert all(0 < timeout < 60 for _, timeout in attempts) and len(attempts) <= 1


@pytest.fixture
def published(tmp_path):
    """A file on a "server", as whose digest the first eight digits are given."""
    content = b"weights" * 1000
    (tmp_path / "server").mkdir()
    path = tmp_path / "server" / f"net-{hashlib.sha256(content).hexdigest()[:8]}.pth"
    path.write_bytes(content)
    return path


@pytest.fixture
def cache(monkeypatch, tmp_path):
    monkeypatch.setattr(torch.hub, "_hub_dir", str(tmp_path / "torch"))
    return tmp_path / "torch" / "checkpoints"


def drawn(network, seed=3):
    """A state of ``network`` with numbers that no initialisation gives."""
    random = torch.Generator().manual_seed(seed)
    return {
        key: torch.rand(value.shape, generator=random) if value.is_floating_point() else value + 5
        for key, value in network.state_dict().items()
    }


def test_files_are_downloaded_once(published, cache):
    file = WeightFile.of_torchvision("test weights", published.as_uri())
    assert locate(file).read_bytes() == published.read_bytes()
    assert [path.name for path in cache.iterdir()] == [published.name]
    published.unlink()
    assert locate(file) == cache / published.name


def test_a_file_that_is_not_whole_is_not_kept(published, cache):
    file = WeightFile.of_torchvision("test weights", published.as_uri())
    published.write_bytes(b"weights" * 10)
    with pytest.raises(UnavailableError, match="SHA-256 does not begin with"):
        locate(file)
    assert list(cache.iterdir()) == []


def test_a_connection_that_ends_early_is_told(published, cache, monkeypatch):
    answer = urllib.request.urlopen(published.as_uri())
    answer.headers.replace_header("Content-Length", "9000")
    monkeypatch.setattr(urllib.request, "urlopen", lambda *given, **options: answer)
    with pytest.raises(UnavailableError, match="ended after 7000 of 9000 bytes"):
        locate(WeightFile.of_torchvision("test weights", published.as_uri()))
    assert list(cache.iterdir()) == []


def test_without_a_network_one_message_says_what_to_do(checkpoints):
    with pytest.raises(UnavailableError) as error:
        PoseModel.build(
            small.config()["model"] | {"backbone": {"type": "ResNet", "model_name": TINY}},
            pretrained_backbone=True,
        )
    message = str(error.value)
    for part in (
        "Expected the ImageNet weights of resnet10t",
        "https://huggingface.co/timm/resnet10t.c3_in1k/resolve/main/model.safetensors",
        "(Name or service not known)",
        str(checkpoints / "resnet10t.c3_in1k.safetensors"),
        "--from-scratch",
        "from_scratch=True",
        "pretrained_backbone=False",
    ):
        assert part in message


@pytest.mark.parametrize(("config", "name"), DETECTOR_FILES)
def test_weights_of_detectors_are_asked_for_by_name(checkpoints, config, name):
    with pytest.raises(UnavailableError, match=f"models/{name}.*save it as.*checkpoints/{name}"):
        DETECTORS.build(config, pretrained=True)


def test_hugging_face_offline_asks_for_nothing(checkpoints, monkeypatch):
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    with pytest.raises(UnavailableError, match="HF_HUB_OFFLINE is set"):
        create_network(TINY, pretrained=True)


def test_a_file_put_by_hand_is_loaded_into_a_resnet(checkpoints):
    state = drawn(create_network(TINY, pretrained=False))
    save_file(state, checkpoints / "resnet10t.c3_in1k.safetensors")
    backbone = build_backbone({"type": "ResNet", "model_name": TINY}, pretrained=True)
    own = {key.removeprefix("model."): value for key, value in backbone.state_dict().items()}
    assert len(own) > 50 and not any(key.startswith("fc.") for key in own)
    assert all(torch.equal(value, state[key]) for key, value in own.items())


def test_weights_in_the_cache_of_hugging_face_are_used(checkpoints, tmp_path):
    snapshot = tmp_path / "hub" / "models--timm--resnet10t.c3_in1k" / "snapshots" / "abc"
    snapshot.mkdir(parents=True)
    (snapshot.parents[1] / "refs").mkdir()
    (snapshot.parents[1] / "refs" / "main").write_text("abc")
    state = drawn(create_network(TINY, pretrained=False))
    save_file(state, snapshot / "model.safetensors")
    network = create_network(TINY, pretrained=True)
    assert torch.equal(network.conv1[0].weight, state["conv1.0.weight"])


@pytest.mark.parametrize("content", [b"", b"not safetensors"])
def test_a_damaged_file_is_told(checkpoints, content):
    path = checkpoints / "resnet10t.c3_in1k.safetensors"
    path.write_bytes(content)
    with pytest.raises(SnapshotError, match=f"{path}: expected the ImageNet weights.*Delete"):
        create_network(TINY, pretrained=True)


def test_weights_of_another_network_are_told(checkpoints):
    save_file({"conv1.weight": torch.zeros(3)}, checkpoints / "resnet10t.c3_in1k.safetensors")
    with pytest.raises(SnapshotError, match="resnet10t cannot take them"):
        create_network(TINY, pretrained=True)


def test_rtmposes_weights_are_loaded_into_cspnext(checkpoints):
    config = SMALL_CSPNEXT | {"model_name": "cspnext_s"}
    state = drawn(build_backbone(config))
    torch.save({"state_dict": state}, checkpoints / "cspnext_s.pt")
    backbone = build_backbone(config, pretrained=True)
    assert all(torch.equal(value, state[key]) for key, value in backbone.state_dict().items())


def test_a_file_with_code_is_not_run(checkpoints):
    path = checkpoints / "cspnext_s.pt"
    torch.save({"state_dict": {"stem": Trap()}}, path)
    with pytest.raises(SnapshotError, match=r"cspnext_s\.pt: expected weights"):
        read_state(path, "state_dict")


class Trap:
    def __reduce__(self):
        return (pytest.fail, ("unpickled",))


def test_cocos_weights_are_loaded_into_ssdlite(checkpoints):
    from torchvision.models import detection

    coco = drawn(
        detection.ssdlite320_mobilenet_v3_large(weights=None, weights_backbone=None, num_classes=91)
    )
    torch.save(coco, checkpoints / DETECTOR_FILES[0][1])
    own = DETECTORS.build({"type": "SSDLite"}, pretrained=True).model.state_dict()
    logits = [key for key in own if own[key].shape != coco[key].shape]
    assert len(logits) == 12 and all(".classification_head." in key for key in logits)
    for key, value in own.items():
        assert torch.equal(value, coco[key][: len(value)] if key in logits else coco[key])


def test_imagenets_weights_are_loaded_into_ssdlites_backbone(checkpoints):
    from torchvision.models import mobilenet_v3_large

    state = drawn(mobilenet_v3_large(weights=None))
    torch.save(state, checkpoints / DETECTOR_FILES[1][1])
    own = DETECTORS.build(DETECTOR_FILES[1][0], pretrained=True).state_dict()
    first = "features.0.0.weight"
    assert torch.equal(own["model.backbone.features.0.0.0.weight"], state[first])


@pytest.mark.parametrize(
    "config",
    [
        {"type": "SmallBackbone"},
        {"type": "ResNet", "model_name": "test_resnet"},
        {"type": "ResNet", "model_name": "resnetblur18"},
        SMALL_CSPNEXT | {"model_name": "my_cspnext"},
    ],
)
def test_networks_without_published_weights_are_drawn_at_random(checkpoints, config):
    assert config["type"] in BACKBONES
    assert build_backbone(config, pretrained=True).training
