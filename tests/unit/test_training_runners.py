from __future__ import annotations

import csv
import errno
from itertools import chain

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from dlc_deploy.errors import ConfigError, OutputError, UnavailableError  # noqa: E402
from dlc_deploy.training.apis.train import train  # noqa: E402
from dlc_deploy.training.data.collate import join  # noqa: E402
from dlc_deploy.training.devices import device_of  # noqa: E402
from dlc_deploy.training.models import PoseModel  # noqa: E402
from dlc_deploy.training.models.backbones import BACKBONES  # noqa: E402
from dlc_deploy.training.models.detectors import DETECTORS, BaseDetector  # noqa: E402
from dlc_deploy.training.runners import build_training_runner  # noqa: E402
from dlc_deploy.training.runners.batch_norms import batch_norms_learn  # noqa: E402
from dlc_deploy.training.runners.losses import EpochLosses, mean_losses  # noqa: E402
from dlc_deploy.training.runners.precision import MixedPrecision, check_precision  # noqa: E402
from dlc_deploy.training.runners.seeding import EpochBatches, SeededDataset, seeded  # noqa: E402
from dlc_deploy.training.task import Task  # noqa: E402
from tests import small, training_runs  # noqa: E402

pytestmark = pytest.mark.torch


@DETECTORS.register_module
class BoxOfMeans(BaseDetector):
    """Finds one box, which it learns without looking."""

    def __init__(self, pretrained=False):
        super().__init__()
        self.box = torch.nn.Parameter(torch.zeros(4))

    def forward(self, images, targets=None):
        if self.training:
            wanted = torch.cat([target["boxes"] for target in targets])
            return {"far": (self.box - wanted).abs().mean(), "zero": 0 * self.box.sum()}, []
        found = {"boxes": self.box[None], "scores": torch.ones(1), "labels": torch.ones(1)}
        return {}, [found for _ in images]

    def decode(self, images, detections):
        raise NotImplementedError


def detector_config(**train_settings):
    content = training_runs.config(**train_settings)
    content["model"] = {"type": "BoxOfMeans"}
    content["runner"] |= {"type": "DetectorTrainingRunner", "key_metric": "test.mAP@50:95"}
    content["runner"]["optimizer"] = {"type": "SGD", "params": {"lr": 20.0}}
    return content


def run(loader, task=Task.BOTTOM_UP, config=None, **options):
    plain = training_runs.plain
    options = {"transform": plain, "inference_transform": plain, "from_scratch": True} | options
    train(loader, config or loader.model_cfg, task, **options)


def batch_of(loader, task=Task.BOTTOM_UP, count=4):
    dataset = loader.create_dataset(training_runs.plain, "train", task)
    return join([dataset[place] for place in range(count)])


def runner_of(tmp_path, task=Task.BOTTOM_UP, model=None, **options):
    content = training_runs.config()
    return build_training_runner(
        content["runner"], tmp_path, task, model or small.model(), "cpu", **options
    )


def test_a_detector_is_trained_and_its_boxes_are_judged_in_pixels_of_the_image(tmp_path):
    loader = training_runs.DrawnLoader(tmp_path)
    run(loader, Task.DETECT, detector_config(epochs=4))
    folder = loader.model_folder
    with (folder / "learning_stats_detector.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    losses = {f"losses/train.{name}" for name in ("far", "zero", "total_loss")}
    sizes = ("50:95", "50", "75")
    metrics = {f"metrics/test.{kind}@{size}" for kind in ("mAP", "mAR") for size in sizes}
    assert set(rows[0]) == {"step", "losses/eval.total_loss", *losses, *metrics}
    assert rows[1]["losses/eval.total_loss"] == "nan"
    assert rows[0]["losses/train.far"] == rows[0]["losses/train.total_loss"]
    assert float(rows[3]["losses/train.far"]) < float(rows[0]["losses/train.far"])
    assert {path.stem for path in folder.glob("*.pt")} >= {"snapshot-detector-best-002"}


def test_detections_lie_where_the_image_file_has_them(tmp_path):
    loader = training_runs.DrawnLoader(tmp_path)
    model = BoxOfMeans()
    model.box.data = torch.tensor([1.0, 2, 11, 22])
    runner = runner_of(tmp_path, Task.DETECT, model)
    batch = batch_of(loader, Task.DETECT, 1)
    batch["scales"][:] = torch.tensor([2.0, 3.0])
    batch["offsets"][:] = torch.tensor([100.0, 200.0])
    truth = batch["annotations"]["boxes"][0, 0].numpy()
    with torch.no_grad():
        runner.step(batch, "eval")
    (found,) = runner._collected()
    np.testing.assert_allclose(found.boxes, [[102, 206, 20, 60]])
    np.testing.assert_allclose(found.truth[0], truth * [2, 3, 2, 3] + [100, 200, 0, 0], rtol=1e-6)
    assert found.size == (32, 32) and found.scores.tolist() == [1]
    assert runner._collected() == []


def test_keypoints_are_judged_where_the_image_file_has_them(tmp_path):
    loader = training_runs.DrawnLoader(tmp_path)
    runner = runner_of(tmp_path)
    batch = batch_of(loader, count=2)
    batch["scales"][1] = torch.tensor([2.0, 3.0])
    batch["offsets"][1] = torch.tensor([100.0, 200.0])
    runner.model.eval()
    with torch.no_grad():
        poses = runner.model.get_predictions(runner.model(batch["image"]))["bodypart"]["poses"]
        runner.step(batch, "eval")
    first, second = runner._collected()
    np.testing.assert_array_equal(first.poses, poses[0])
    moved = poses[1] * torch.tensor([2, 3, 1]) + torch.tensor([100, 200, 0])
    np.testing.assert_allclose(second.poses, moved, rtol=1e-6)
    np.testing.assert_allclose(
        second.truth,
        batch["annotations"]["keypoints"][1] * torch.tensor([2, 3, 1])
        + torch.tensor([100, 200, 0]),
        rtol=1e-6,
    )
    assert first.unique is None


def test_a_step_tells_all_losses_and_changes_the_weights(tmp_path):
    loader = training_runs.DrawnLoader(tmp_path)
    runner = runner_of(tmp_path)
    runner.model.train()
    before = runner.model.backbone.layers[0].weight.clone()
    losses = runner.step(batch_of(loader), "train")
    assert set(losses) == {
        "bodypart_heatmap", "bodypart_locref", "bodypart_total_loss", "total_loss"
    }  # fmt: skip
    assert not any(loss.requires_grad for loss in losses.values())
    assert not torch.equal(before, runner.model.backbone.layers[0].weight)


def test_without_test_images_there_is_no_evaluation_which_is_said_once(tmp_path, caplog):
    loader = training_runs.DrawnLoader(tmp_path, test=0)
    run(loader)
    said = [r.message for r in caplog.records if "test set" in r.message]
    assert said == ["The test set is empty: the model is trained, but never evaluated."]
    names = {path.name for path in loader.model_folder.glob("*.pt")}
    assert names == {"snapshot-001.pt", "snapshot-002.pt", "snapshot-003.pt"}


def test_without_training_images_nothing_is_trained(tmp_path):
    with pytest.raises(ConfigError, match="Expected images to train on, got none"):
        run(training_runs.DrawnLoader(tmp_path, train=0))


def test_a_batch_of_one_image_is_trained(tmp_path):
    loader = training_runs.DrawnLoader(tmp_path, training_runs.config(batch_size=1, epochs=1))
    run(loader)
    assert (loader.model_folder / "snapshot-001.pt").is_file()


@BACKBONES.register_module
class SingleCell(small.SmallBackbone):
    """One cell for an image, through a batch norm that learns."""

    def __init__(self, freeze_bn_stats=False):
        super().__init__()
        self.freeze_bn_stats = freeze_bn_stats
        self.norm = torch.nn.BatchNorm2d(small.CHANNELS)

    def forward(self, x):
        return self.norm(super().forward(x).mean((2, 3), keepdim=True))


def single_cell(**train_settings):
    content = training_runs.config(epochs=1, **train_settings)
    content["model"]["backbone"] = {"type": "SingleCell"}
    return content


def test_a_batch_norm_that_sees_one_value_is_explained(tmp_path):
    content = single_cell(batch_size=1)
    with pytest.raises(ConfigError, match=r"got a batch of one image with a single cell\. Train"):
        run(training_runs.DrawnLoader(tmp_path, content))
    content["model"]["backbone"]["freeze_bn_stats"] = True
    run(training_runs.DrawnLoader(tmp_path, content))


def test_the_last_image_is_not_left_alone_with_a_batch_norm(tmp_path):
    loader = training_runs.DrawnLoader(tmp_path, single_cell(batch_size=2), train=5)
    run(loader)
    assert batch_norms_learn(PoseModel.build(loader.model_cfg["model"]))
    assert not batch_norms_learn(small.model())


def test_half_precision_trains_nearly_the_same_weights_and_keeps_them_float32(tmp_path):
    found = {}
    for precision in ("fp32", "bf16"):
        loader = training_runs.DrawnLoader(tmp_path / precision, training_runs.config(epochs=1))
        run(loader, precision=precision)
        found[precision] = training_runs.weights_of(loader.model_folder / "snapshot-001.pt")
    difference = 0.0
    for key, weight in found["fp32"].items():
        half = found["bf16"][key]
        assert half.dtype == weight.dtype
        # Three steps of at most 0.01 each, in directions that rounding rarely turns round.
        torch.testing.assert_close(half, weight, atol=0.06, rtol=0)
        difference += float((half - weight).abs().sum())
    assert difference > 0


def test_small_gradients_are_scaled_up_and_a_step_that_overflows_is_left_out():
    precision = MixedPrecision("fp16", torch.device("cpu"))
    weight = torch.nn.Parameter(torch.ones(1))
    optimizer = torch.optim.SGD([weight], lr=1.0)
    scale = precision.scaler.get_scale()
    precision.update(optimizer, weight.sum() * 0.5)
    assert weight.item() == 0.5
    precision.update(optimizer, weight.sum() * torch.inf)
    assert weight.item() == 0.5 and precision.scaler.get_scale() == scale / 2
    other = MixedPrecision("fp16", torch.device("cpu"))
    other.load_state_dict(precision.state_dict())
    assert other.scaler.get_scale() == scale / 2


def test_a_precision_that_the_device_lacks_is_refused(tmp_path):
    with pytest.raises(UnavailableError, match=r"that cpu computes in \(fp32, bf16\), got fp16"):
        run(training_runs.DrawnLoader(tmp_path), precision="fp16")
    with pytest.raises(UnavailableError, match=r"that mps computes in \(fp32\), got bf16"):
        check_precision("bf16", torch.device("mps"))
    with pytest.raises(ConfigError, match="expected one of fp32, bf16, fp16, got 'int8'"):
        check_precision("int8", torch.device("cpu"))


def test_a_device_that_is_not_here_is_refused(tmp_path):
    loader = training_runs.DrawnLoader(tmp_path)
    with pytest.raises(UnavailableError, match=r"got cuda:99, of whose kind there are \d"):
        run(loader, device="cuda:99")
    with pytest.raises(ConfigError, match=r"expected auto, cpu, .* got 'gpu'"):
        run(loader, device="gpu")
    loader.model_cfg["device"] = "cuda:99"
    with pytest.raises(UnavailableError, match="got cuda:99"):
        run(loader, device=None)


def test_auto_takes_what_is_here(tmp_path, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    run(training_runs.DrawnLoader(tmp_path, training_runs.config(epochs=1)), device="auto")
    assert (tmp_path / "train" / "snapshot-001.pt").is_file()


def test_a_gpus_number_needs_a_gpu():
    assert device_of("cuda", [2, 3]) == "cuda:2" and device_of("cpu", []) == "cpu"
    with pytest.raises(ConfigError, match=r"none with device cpu, got \[0\]"):
        device_of("cpu", [0])


def test_several_gpus_replicate_the_model_and_save_the_plain_one(tmp_path):
    """Without a GPU torch's DataParallel passes on to the model it wraps."""
    loader = training_runs.DrawnLoader(tmp_path, training_runs.config(epochs=1))
    model = small.model(loader.model_cfg)
    runner = runner_of(tmp_path, model=model)
    runner._gpus = [0, 1]
    batches = torch.utils.data.DataLoader([batch_of(loader, count=1)], batch_size=None)
    runner.fit(batches, batches, epochs=2)
    assert isinstance(runner._network, torch.nn.DataParallel)
    assert (
        training_runs.weights_of(tmp_path / "snapshot-001.pt").keys() == model.state_dict().keys()
    )


def test_a_detector_shares_gpus_only_among_processes(tmp_path):
    with pytest.raises(ConfigError, match=r"got \[0, 1\]\. .*torchrun --nproc-per-node=2"):
        runner_of(tmp_path, Task.DETECT, BoxOfMeans(), gpus=[0, 1])


def test_a_full_disk_is_told_and_leaves_the_former_files(tmp_path, monkeypatch):
    loader = training_runs.DrawnLoader(tmp_path)
    run(loader)
    before = {path.name: path.read_bytes() for path in loader.model_folder.iterdir()}
    full = OSError(errno.ENOSPC, "No space left on device")

    def save(content, file):
        file.write(b"half")
        raise full

    monkeypatch.setattr(torch, "save", save)
    with pytest.raises(OutputError, match=r"snapshot\.pt: could not be written: .*No space"):
        run(loader)
    after = {path.name: path.read_bytes() for path in loader.model_folder.iterdir()}
    assert after.keys() == before.keys()
    assert all(after[name] == before[name] for name in before if name.endswith(".pt"))


def test_a_gpu_is_asked_for_losses_only_when_they_are_shown(tmp_path, monkeypatch):
    looks = []
    check = EpochLosses.check
    monkeypatch.setattr(
        EpochLosses, "check", lambda self, epoch: (looks.append(len(self)), check(self, epoch))
    )
    loader = training_runs.DrawnLoader(tmp_path)
    runner = runner_of(tmp_path)
    monkeypatch.setattr(runner, "_looks_often", lambda: False)
    batches = torch.utils.data.DataLoader([batch_of(loader, count=2)] * 7, batch_size=None)
    runner.fit(batches, batches, epochs=1, display_iters=3)
    assert looks == [3, 6, 7]


def test_means_leave_out_what_is_no_number():
    losses = EpochLosses()
    for value in (1.0, float("nan"), 2.0):
        losses.add({"a": torch.tensor(value), "b": torch.tensor(float("nan"))})
    other = EpochLosses()
    other.add({"a": torch.tensor(6.0)})
    means = mean_losses([losses.arrays(), other.arrays(), {}])
    assert means["a"] == 3 and np.isnan(means["b"])


def epoch(batches, number):
    batches.set_epoch(number)
    return [[index for _, index in batch] for batch in batches]


def test_an_epoch_shows_every_image_once_in_an_order_of_its_own():
    batches = EpochBatches(10, 4, seed=3)
    first, second = epoch(batches, 1), epoch(batches, 2)
    assert [len(batch) for batch in first] == [4, 4, 2] and len(batches) == 3
    assert sorted(chain(*first)) == list(range(10)) == sorted(chain(*second))
    assert first != second and first == epoch(EpochBatches(10, 4, seed=3), 1)
    assert first != epoch(EpochBatches(10, 4, seed=4), 1)


def test_no_image_is_left_alone_where_batch_norms_learn():
    sizes = [len(batch) for batch in epoch(EpochBatches(9, 4, 0, spread_single=True), 1)]
    assert sizes == [4, 3, 2]
    assert [len(b) for b in epoch(EpochBatches(5, 2, 0, spread_single=True), 1)] == [2, 3]
    assert [len(b) for b in epoch(EpochBatches(9, 4, 0), 1)] == [4, 4, 1]
    assert [len(b) for b in epoch(EpochBatches(1, 4, 0, spread_single=True), 1)] == [1]
    assert [len(b) for b in epoch(EpochBatches(3, 1, 0, spread_single=True), 1)] == [1, 1, 1]


def test_processes_share_each_batch_of_a_single_one():
    whole = epoch(EpochBatches(10, 4, seed=3), 1)
    shares = [epoch(EpochBatches(10, 2, seed=3, process=(rank, 2)), 1) for rank in (0, 1)]
    for batch, *parts in zip(whole, *shares, strict=True):
        assert sorted(batch) == sorted(chain(*parts))
    uneven = [epoch(EpochBatches(5, 2, seed=3, process=(rank, 2)), 1) for rank in (0, 1)]
    assert [[len(batch) for batch in share] for share in uneven] == [[2, 1], [2, 1]]
    assert set(chain(*uneven[0], *uneven[1])) == set(range(5))


def test_a_sample_depends_on_its_seed_alone_and_leaves_no_trace():
    class Noise:
        def __getitem__(self, place):
            return place, float(torch.rand(1)), float(np.random.rand())

    dataset = SeededDataset(Noise())
    torch.manual_seed(0)
    expected = torch.rand(1)
    torch.manual_seed(0)
    assert dataset[5, 0] == dataset[5, 0] != dataset[6, 0]
    assert torch.equal(torch.rand(1), expected)
    with seeded(1), seeded(2):
        pass
