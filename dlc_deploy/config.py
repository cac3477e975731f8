"""DeepLabCut's ``pytorch_config.yaml``, typed.

Only what inference and export rest on is spelled out; the sections that training alone reads stay
mappings here and are checked by the part that reads them. As in DeepLabCut 3.0.2, an unknown key
is an error. ``project_path`` in ``metadata`` goes stale when a project moves; nothing needs it.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from dlc_deploy import yaml12
from dlc_deploy.choices import Method, PadPosition
from dlc_deploy.errors import ConfigError
from dlc_deploy.preprocessing import (
    CropPreprocessing,
    FramePreprocessing,
    Normalization,
    Padding,
    Pixels,
    Resize,
)

Section = dict[str, Any]


class _Strict(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Metadata(_Strict):
    """What the outputs of a model mean."""

    project_path: str | None = None
    pose_config_path: str | None = None
    bodyparts: list[str]
    unique_bodyparts: list[str] = Field(default_factory=list)
    individuals: list[str] = Field(min_length=1)
    with_identity: bool | None = None

    @field_validator("unique_bodyparts", mode="before")
    @classmethod
    def _none_is_empty(cls, value: Any) -> Any:
        return [] if value is None else value


class AutoPadding(_Strict):
    """``auto_padding`` of a transform section."""

    min_height: int | None = None
    min_width: int | None = None
    pad_height_divisor: Pixels | None = 1
    pad_width_divisor: Pixels | None = 1
    position: PadPosition = "random"
    border_mode: str = "reflect_101"
    border_value: float | list[float] | None = None
    border_mask_value: float | list[float] | None = None

    def padding(self) -> Padding | None:
        """The same as a value of the runtime.

        Raises:
            ConfigError: a border or minimum size that the runtime does not reproduce.
        """
        if self.min_height or self.min_width or self.border_mode != "reflect_101":
            raise ConfigError(
                "data.inference.auto_padding: expected divisors and border_mode reflect_101 only, "
                f"got {self.model_dump(exclude_defaults=True)}. Train the model with divisors."
            )
        divisors = self.pad_height_divisor or 1, self.pad_width_divisor or 1
        if divisors == (1, 1):
            return None
        return Padding(
            height_divisor=divisors[0], width_divisor=divisors[1], position=self.position
        )


class TopDownCrop(_Strict):
    """``top_down_crop`` of a transform section."""

    width: Pixels
    height: Pixels
    margin: int = 0
    crop_with_context: bool = True
    center_padding: bool = False

    def preprocessing(self) -> CropPreprocessing:
        """The same as a value of the runtime."""
        return CropPreprocessing(
            height=self.height,
            width=self.width,
            margin=self.margin,
            with_context=self.crop_with_context,
            center_padding=self.center_padding,
        )


class Transforms(_Strict):
    """``data.inference``: what happens to an image before the network.

    Augmentations belong to training; they are read, and refused when an inference section
    switches one on.
    """

    resize: Resize | None = None
    longest_max_size: Pixels | None = None
    auto_padding: AutoPadding | None = None
    normalize_images: bool = True
    scale_to_unit_range: bool = False
    top_down_crop: TopDownCrop | None = None
    collate: Any = None
    hflip: Any = None
    affine: Any = None
    random_bbox_transform: Any = None
    crop_sampling: Any = None
    hist_eq: Any = None
    motion_blur: Any = None
    covering: Any = None
    elastic_transform: Any = None
    grayscale: Any = None
    gaussian_noise: Any = None

    @field_validator("resize", mode="before")
    @classmethod
    def _resize(cls, value: Any) -> Any:
        return None if value is False else value

    def frame(self) -> FramePreprocessing:
        """The transforms of a whole frame."""
        return FramePreprocessing(
            resize=self.resize,
            longest_max_size=self.longest_max_size,
            padding=None if self.auto_padding is None else self.auto_padding.padding(),
        )

    def normalization(self) -> Normalization:
        """How pixels become the network's numbers.

        Raises:
            ConfigError: both ways of normalising are switched on.
        """
        if self.normalize_images and self.scale_to_unit_range:
            raise ConfigError(
                "data.inference: expected one of normalize_images and scale_to_unit_range, "
                "got both true. Keep the one the model was trained with."
            )
        if self.normalize_images:
            return Normalization(kind="imagenet")
        return Normalization(kind="unit" if self.scale_to_unit_range else "none")

    def augmentations(self) -> list[str]:
        """Names of the augmentations that are switched on."""
        names = (
            "hflip affine random_bbox_transform crop_sampling hist_eq motion_blur covering "
            "elastic_transform grayscale gaussian_noise"
        )
        return [name for name in names.split() if getattr(self, name)]


class Data(_Strict):
    """The ``data`` section."""

    inference: Transforms = Field(default_factory=Transforms)
    train: Section = Field(default_factory=dict)
    bbox_margin: int = 25
    colormode: str = "RGB"
    gen_sampling: Any = None
    loader: Any = None


class Model(_Strict):
    """The ``model`` section; the parts stay mappings, checked by the registry that builds them."""

    backbone: Section
    heads: dict[str, Section]
    backbone_output_channels: int
    neck: Section | None = None
    pose_model: Section | None = None


class Detector(_Strict):
    """The ``detector`` section of a top-down model."""

    model: Section
    data: Data = Field(default_factory=Data)
    device: str | None = None
    runner: Section | None = None
    train_settings: Section | None = None
    inference: Section | None = None
    resume_training_from: str | None = None


class PoseConfig(_Strict):
    """A whole ``pytorch_config.yaml``."""

    metadata: Metadata
    model: Model
    net_type: str
    method: Method
    data: Data = Field(default_factory=Data)
    detector: Detector | None = None
    config_version: int = 0
    device: str | None = None
    runner: Section | None = None
    train_settings: Section | None = None
    inference: Section | None = None
    logger: Section | None = None
    with_center_keypoints: bool = False
    resume_training_from: str | None = None
    weight_init: Any = None

    @model_validator(mode="before")
    @classmethod
    def _undescribed_crop(cls, content: Any) -> Any:
        """DeepLabCut crops without being told how: to 256 x 256, for a conditional model tight."""
        method = content.get("method") if isinstance(content, dict) else None
        if not isinstance(method, str) or method.lower() not in ("td", "ctd"):
            return content
        data = content.get("data") or {}
        inference = (data.get("inference") or {}) if isinstance(data, dict) else None
        if not isinstance(inference, dict):
            return content
        crop = inference.get("top_down_crop") or {}
        if not isinstance(crop, dict):
            return content
        usual = {"width": 256, "height": 256, "crop_with_context": method.lower() == "td"}
        inference = inference | {"top_down_crop": usual | crop}
        return content | {"data": data | {"inference": inference}}

    @field_validator("method", mode="before")
    @classmethod
    def _lower(cls, value: Any) -> Any:
        return value.lower() if isinstance(value, str) else value

    @classmethod
    def from_mapping(cls, mapping: object, *, source: str) -> PoseConfig:
        """Validate a mapping; ``source`` names it in errors.

        Raises:
            ConfigError: unknown or missing keys, wrong types.
        """
        if not isinstance(mapping, dict):
            raise ConfigError(
                f"{source}: expected a mapping of keys, got {type(mapping).__name__}."
            )
        try:
            return cls.model_validate(mapping)
        except ValidationError as error:
            raise ConfigError(_explain(source, error)) from None

    @classmethod
    def from_yaml(cls, path: Path) -> PoseConfig:
        """Read and validate a ``pytorch_config.yaml``.

        Raises:
            ConfigError: the file is absent, not YAML, or not a configuration of ours.
        """
        return cls.from_mapping(read_yaml(path), source=str(path))


def read_yaml(path: Path) -> object:
    """A YAML file, safely loaded, with the scalars of YAML 1.2 as DeepLabCut reads them.

    Raises:
        ConfigError: the file is absent or not YAML.
    """
    try:
        return yaml12.load(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ConfigError(
            f"{path}: expected the model's configuration, found no such file. "
            "Give its path with --config."
        ) from None
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise ConfigError(f"{path}: expected YAML, got: {error}") from None


def _explain(source: str, error: ValidationError) -> str:
    lines = []
    for problem in error.errors():
        key = ".".join(str(part) for part in problem["loc"])
        if problem["type"] == "extra_forbidden":
            lines.append(f"  {key}: unknown key; remove it, or check its spelling")
        else:
            got = "" if problem["type"] == "missing" else f" (got {problem['input']!r:.80})"
            lines.append(f"  {key}: {problem['msg']}{got}")
    return f"{source}: not a configuration of a DeepLabCut 3 model:\n" + "\n".join(lines)
