"""What the labels of a dataset mean, and how crops are cut from its images."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class PoseDatasetParameters:
    """DeepLabCut's parameters of a dataset, under its names.

    Attributes:
        bodyparts: names of the bodyparts of an animal.
        unique_bpts: names of the unique bodyparts.
        individuals: names of the animals.
        with_center_keypoints: add the centre of each animal as a last bodypart (DEKR).
        color_mode: ``RGB`` or ``BGR``, the order of channels that the network sees.
        ctd_bbox_margin: pixels around the conditions of a conditional top-down model.
        top_down_crop_size: (width, height) that animals are cropped to.
        top_down_crop_margin: pixels added around boxes before cropping.
        top_down_crop_with_context: grow boxes to the crop's aspect instead of padding them.
    """

    bodyparts: list[str]
    unique_bpts: list[str]
    individuals: list[str]
    with_center_keypoints: bool = False
    color_mode: str = "RGB"
    ctd_bbox_margin: int | None = None
    top_down_crop_size: tuple[int, int] | None = None
    top_down_crop_margin: int | None = None
    top_down_crop_with_context: bool = True

    @property
    def num_joints(self) -> int:
        """Bodyparts of an animal."""
        return len(self.bodyparts)

    @property
    def num_unique_bpts(self) -> int:
        """Unique bodyparts."""
        return len(self.unique_bpts)

    @property
    def max_num_animals(self) -> int:
        """Most animals in an image."""
        return len(self.individuals)
