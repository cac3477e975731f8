"""``data.train`` and ``data.inference`` of a model's configuration, as training reads them.

Keys, defaults and what counts as switched off are those of DeepLabCut's ``config/data.py`` and
``data/transforms.py``.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from dlc_deploy.choices import PadPosition
from dlc_deploy.errors import ConfigError
from dlc_deploy.preprocessing import Pixels, Resize

from .crop_sampling import CropMethod

Probability = Annotated[float, Field(ge=0, le=1)]
Index = Annotated[int, Field(ge=0)]
Pair = Annotated[list[Index], Field(min_length=2, max_length=2)]
Range = Annotated[list[float], Field(min_length=2, max_length=2)]
BorderMode = Literal["constant", "reflect_101"]


class Settings(BaseModel):
    """Base: frozen, no conversions, and an unknown key is an error that names it."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


class FlipSettings(Settings):
    """``hflip`` as a mapping; ``symmetries`` are pairs of bodyparts, None where not given."""

    p: Probability = 0.5
    symmetries: list[Pair] | None = None

    @field_validator("symmetries")
    @classmethod
    def _once(cls, pairs: list[Pair] | None) -> list[Pair] | None:
        named = [place for pair in pairs or [] for place in pair]
        if len(named) != len(set(named)):
            raise ValueError("each bodypart may be in one pair only")
        return pairs


class AffineSettings(Settings):
    """``affine``; ``scaling`` is a range or one number."""

    p: Probability = 0.9
    scaling: Range | float | None = None
    rotation: float | None = None
    translation: int | None = None


class RandomBoxSettings(Settings):
    """``random_bbox_transform``."""

    shift_factor: Annotated[float, Field(ge=0)] = 0.1
    shift_prob: Probability = 0.25
    scale_factor: Range = [0.75, 1.25]
    scale_prob: Probability = 1.0
    p: Probability = 1.0


class CropSamplingSettings(Settings):
    """``crop_sampling``."""

    width: Pixels
    height: Pixels
    max_shift: float = 0.4
    method: CropMethod = "hybrid"


class PaddingSettings(Settings):
    """``auto_padding``; one of a least size and a divisor for each side."""

    min_height: Pixels | None = None
    min_width: Pixels | None = None
    pad_height_divisor: Pixels | None = 1
    pad_width_divisor: Pixels | None = 1
    position: PadPosition = "random"
    border_mode: BorderMode = "reflect_101"
    border_value: float | list[float] | None = None
    border_mask_value: float | list[float] | None = None

    @model_validator(mode="after")
    def _one_of_each(self) -> PaddingSettings:
        for side in ("height", "width"):
            least, divisor = getattr(self, f"min_{side}"), getattr(self, f"pad_{side}_divisor")
            if (least is None) == (divisor is None):
                raise ValueError(
                    f"expected one of min_{side} and pad_{side}_divisor, got {least} and "
                    f"{divisor}; set the other to null"
                )
        return self


class TransformSettings(Settings):
    """A whole section; None and false are off. ``top_down_crop`` and ``collate`` are read where
    crops are cut and batches are made."""

    resize: Resize | None = None
    longest_max_size: Pixels | None = None
    hflip: FlipSettings | None = None
    affine: AffineSettings | None = None
    random_bbox_transform: RandomBoxSettings | None = None
    crop_sampling: CropSamplingSettings | None = None
    hist_eq: bool = False
    motion_blur: bool = False
    covering: bool = False
    elastic_transform: bool = False
    grayscale: bool = False
    gaussian_noise: Annotated[float, Field(ge=0)] = 0.0
    auto_padding: PaddingSettings | None = None
    normalize_images: bool = False
    scale_to_unit_range: bool = False
    top_down_crop: Any = None
    collate: Any = None

    @model_validator(mode="before")
    @classmethod
    def _without_what_is_off(cls, section: dict[str, Any]) -> dict[str, Any]:
        """Empty values are off; an empty ``affine`` is not, and takes its defaults."""
        known = cls.model_fields
        return {
            key: value
            for key, value in section.items()
            if key not in known or not _is_off(key, value)
        }

    @field_validator("hflip", mode="before")
    @classmethod
    def _probability(cls, value: Any) -> Any:
        if value is True:
            return {}
        if isinstance(value, int):
            raise ValueError("expected true, a probability with a point such as 1.0, or a mapping")
        return {"p": value} if isinstance(value, float) else value

    @field_validator("gaussian_noise", mode="before")
    @classmethod
    def _number(cls, value: Any) -> Any:
        """DeepLabCut reads ``true`` as a standard deviation of 1."""
        return 1.0 if value is True else value

    @model_validator(mode="after")
    def _one_normalization(self) -> TransformSettings:
        if self.normalize_images and self.scale_to_unit_range:
            raise ValueError("expected one of normalize_images and scale_to_unit_range, got both")
        return self

    @classmethod
    def of(cls, section: Mapping[str, Any]) -> TransformSettings:
        """``section`` of a configuration, checked.

        Raises:
            ConfigError: an unknown key, or a value that a key cannot have.
        """
        if not isinstance(section, Mapping):
            raise ConfigError(
                "Expected a mapping of transforms (data.train or data.inference), got "
                f"{type(section).__name__}. Correct the model's configuration."
            )
        try:
            return cls.model_validate(_plain(section))
        except ValidationError as error:
            raise ConfigError(_explained(error)) from None


def _is_off(key: str, value: Any) -> bool:
    return value is None or (not value and key not in ("affine", "longest_max_size"))


def _plain(value: Any) -> Any:
    """Mappings as dicts and tuples as lists, as YAML has them."""
    if isinstance(value, Mapping):
        return {key: _plain(inner) for key, inner in value.items()}
    return [_plain(inner) for inner in value] if isinstance(value, list | tuple) else value


def _explained(error: ValidationError) -> str:
    lines = ["Cannot build the transforms of data.train or data.inference:"]
    for problem in error.errors():
        key = ".".join(str(part) for part in problem["loc"]) or "section"
        if problem["type"] == "extra_forbidden":
            lines.append(f"  {key}: unknown key; remove it, or check its spelling")
        else:
            got = "" if problem["type"] == "missing" else f" (got {problem['input']!r:.80})"
            lines.append(f"  {key}: {problem['msg']}{got}")
    return "\n".join(lines)
