"""The sections that say how a model is trained and how inference runs."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from dlc_deploy.errors import ConfigError

from .backbones import Section

Conditions = int | str | Path | tuple[int, int] | tuple[int, str]
"""Where a conditional model's poses come from: a shuffle of the project, with the number or the
name of a snapshot or without, or a file of predictions."""


def pose_runner(optimization: Section, *, eval_interval: int = 10) -> Section:
    """The ``runner`` section of a pose model."""
    return _runner("PoseTrainingRunner", "test.mAP", optimization, eval_interval)


def detector_runner(optimization: Section) -> Section:
    """The ``runner`` section of an object detector."""
    return _runner("DetectorTrainingRunner", "test.mAP@50:95", optimization, 10)


def steps(rate: float, later: Mapping[int, float]) -> Section:
    """AdamW at a learning rate that changes at the given epochs."""
    scheduler = {"lr_list": [[value] for value in later.values()], "milestones": list(later)}
    return _optimization(rate, "LRListScheduler", scheduler)


def warm_up_and_cosine(rate: float, last: float, epochs: int) -> Section:
    """RTMPose's schedule: five epochs of warm-up, a cosine to half of the epochs, then ``last``."""
    half = epochs // 2
    parts = [
        ("LinearLR", {"start_factor": 0.001, "end_factor": 1.0, "total_iters": 5}),
        ("CosineAnnealingLR", {"T_max": half, "eta_min": last}),
        ("LRListScheduler", {"milestones": [0], "lr_list": [[last]]}),
    ]
    schedulers = [{"type": kind, "params": params} for kind, params in parts]
    return _optimization(
        rate, "SequentialLR", {"schedulers": schedulers, "milestones": [half, epochs]}
    )


def train_settings(*, batch_size: int = 8, workers: int = 0, epochs: int = 200) -> Section:
    """The ``train_settings`` section."""
    return {
        "batch_size": batch_size,
        "dataloader_workers": workers,
        "dataloader_pin_memory": False,
        "display_iters": 500,
        "epochs": epochs,
        "seed": 42,
        "weight_init": None,
    }


def inference(conditions: Section | None = None) -> Section:
    """The ``inference`` section."""
    return {
        "multithreading": {"enabled": True, "queue_length": 4, "timeout": 30.0},
        "compile": {"enabled": False, "backend": "inductor"},
        "autocast": {"enabled": False},
        "conditions": conditions,
        "snapshot": None,
        "eval": {
            "mode": "all",
            "pcutoff": 0.6,
            "comparison_bodyparts": "all",
            "per_keypoint_evaluation": False,
            "force_multi_animal": False,
        },
        "output_dir": None,
    }


def conditions_section(conditions: Conditions) -> Section:
    """``inference.conditions`` of a conditional model.

    Raises:
        ConfigError: none of the forms that :data:`Conditions` lists, or no such file.
    """
    match conditions:
        case int(shuffle):
            return _shuffle(shuffle)
        case tuple((int(shuffle), int(index))):
            return _shuffle(shuffle, snapshot_index=index)
        case tuple((int(shuffle), str(name))):
            return _shuffle(shuffle, snapshot=name)
        case str() | Path():
            return {"source": "file", "filepath": str(_predictions(Path(conditions)))}
    raise ConfigError(
        "ctd_conditions: expected the number of a shuffle, (shuffle, snapshot index or name), or "
        f"the path of a file of predictions, got {conditions!r}."
    )


def _shuffle(shuffle: int, **snapshot: int | str) -> Section:
    section: Section = {"source": "shuffle", "shuffle": shuffle, "config": None}
    section |= {"trainset_index": 0, "modelprefix": "", "snapshot": None, "snapshot_index": None}
    return section | snapshot


def _predictions(path: Path) -> Path:
    if not path.exists():
        raise ConfigError(f"ctd_conditions: expected a file of predictions, found no {path}.")
    if path.suffix not in (".h5", ".json"):
        raise ConfigError(
            f"ctd_conditions: expected predictions in an .h5 or .json file, got {path}."
        )
    return path.absolute()


def _runner(kind: str, metric: str, optimization: Section, eval_interval: int) -> Section:
    return {
        "type": kind,
        "gpus": None,
        "device": "auto",
        "key_metric": metric,
        "key_metric_asc": True,
        "eval_interval": eval_interval,
        **optimization,
        "snapshots": {"max_snapshots": 5, "save_epochs": 25, "save_optimizer_state": False},
        "snapshot_prefix": None,
        "load_weights_only": None,
    }


def _optimization(rate: float, scheduler: str, params: Mapping[str, Any]) -> Section:
    return {
        "optimizer": {"type": "AdamW", "params": {"lr": rate}},
        "scheduler": {"type": scheduler, "params": dict(params)},
    }
