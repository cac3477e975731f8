"""Annotation files in COCO's format, read and checked (https://cocodataset.org/#format-data)."""

from __future__ import annotations

import json
import math
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dlc_deploy.errors import InputError, some

Record = Mapping[str, Any]
_SHOWN = 5
_TABLES = ("images", "annotations", "categories")


@dataclass(frozen=True, slots=True)
class CocoFile:
    """The content of a file whose parts refer to each other as they should.

    Attributes:
        source: names the file in errors.
        bodyparts: keypoints of the first category that has any.
        images: ``images`` of the file, in its order.
        annotations: of each image, by its id, in the file's order; those of categories without
            keypoints too.
    """

    source: str
    bodyparts: list[str]
    images: Sequence[Record]
    annotations: Mapping[Any, Sequence[Record]]

    @classmethod
    def from_mapping(cls, content: object, source: str) -> CocoFile:
        """Check what :func:`read_json` gave.

        Raises:
            InputError: not COCO's format, ids that refer to nothing or that occur twice, categories
                without keypoints, or with different ones.
        """
        if not isinstance(content, Mapping):
            raise InputError(
                f"{source}: expected a JSON object with {', '.join(_TABLES)}, got a "
                f"{type(content).__name__}. Export the labels as COCO keypoints."
            )
        images, annotations, categories = (_records(content, key, source) for key in _TABLES)
        ids = _ids(images, "images", source)
        bodyparts = _bodyparts(categories, source)
        _refuse_dangling(annotations, "image_id", ids, source)
        known = _ids(categories, "categories", source)
        _refuse_dangling(annotations, "category_id", known, source)
        grouped: dict[Any, list[Record]] = defaultdict(list)
        for annotation in annotations:
            grouped[annotation["image_id"]].append(annotation)
        return cls(source, bodyparts, images, dict(grouped))

    @property
    def most_annotations(self) -> int:
        """How many annotations the fullest image has."""
        return max(map(len, self.annotations.values()), default=0)

    def of_image(self, image: Record) -> Sequence[Record]:
        """The annotations of one of :attr:`images`."""
        return self.annotations.get(image["id"], ())

    def keypoints(self, annotation: Record) -> NDArray[np.float64] | None:
        """[K, 3] x, y in pixels and COCO's visibility; None where it has no keypoints.

        Raises:
            InputError: another number of keypoints than the category names, or no finite numbers.
        """
        given = annotation.get("keypoints")
        if not given:
            return None
        values = self._numbers(annotation, "keypoints", 3 * len(self.bodyparts))
        return values.reshape(-1, 3)

    def box(self, annotation: Record) -> NDArray[np.float64] | None:
        """[4] left, top, width, height in pixels; None where it has no box.

        Raises:
            InputError: not four finite numbers.
        """
        if not annotation.get("bbox"):
            return None
        return self._numbers(annotation, "bbox", 4)

    def _numbers(self, annotation: Record, key: str, count: int) -> NDArray[np.float64]:
        given = annotation[key]
        numbers = isinstance(given, list) and all(_is_number(value) for value in given)
        if not numbers or len(given) != count:
            raise InputError(
                f"{self.source}: annotation {annotation.get('id')}: expected {key} of {count} "
                f"finite numbers, got {given!r:.200}. Correct or remove the annotation."
            )
        return np.array(given, np.float64)


def read_json(path: Path) -> dict[str, Any]:
    """A JSON object.

    Raises:
        InputError: no such file, no JSON, or no object.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise InputError(
            f"{path}: expected annotations in COCO's format, found no such file. Put it there, or "
            "correct its name."
        ) from None
    except (OSError, ValueError) as error:
        raise InputError(
            f"{path}: expected annotations in COCO's format, got no JSON: {error}. "
            "Export them again."
        ) from None
    if not isinstance(content, dict):
        raise InputError(
            f"{path}: expected a JSON object with {', '.join(_TABLES)}, got a "
            f"{type(content).__name__}. Export the labels as COCO keypoints."
        )
    return content


def _records(content: Mapping[str, Any], key: str, source: str) -> list[Record]:
    records = content.get(key)
    if not isinstance(records, list) or not all(isinstance(one, Mapping) for one in records):
        raise InputError(
            f"{source}: expected a list of objects under {key!r}, got {records!r:.80}. "
            "Export the labels as COCO keypoints."
        )
    return records


def _ids(records: Sequence[Record], key: str, source: str) -> set[Any]:
    ids = [record.get("id") for record in records]
    bad = [value for value in ids if isinstance(value, bool) or not isinstance(value, int)]
    if bad:
        raise InputError(f"{source}: expected whole numbers as ids of {key}, got {bad[:_SHOWN]}.")
    twice = [value for value, count in Counter(ids).items() if count > 1]
    if twice:
        raise InputError(
            f"{source}: expected each id of {key} once, got {some(twice)} again. Number them anew."
        )
    return set(ids)


def _bodyparts(categories: Sequence[Record], source: str) -> list[str]:
    lists = [list(one["keypoints"]) for one in categories if one.get("keypoints")]
    if not lists:
        raise InputError(
            f"{source}: expected a category with keypoints, got {len(categories)} categories "
            "without. Name the bodyparts in the order of the annotations under 'keypoints' of the "
            "category."
        )
    if any(names != lists[0] for names in lists):
        raise InputError(
            f"{source}: expected the same keypoints in every category, since they are learnt "
            f"together, got {lists[0]} and {next(names for names in lists if names != lists[0])}. "
            "Keep the categories in files of their own."
        )
    return [str(name) for name in lists[0]]


def _refuse_dangling(annotations: Sequence[Record], key: str, known: set[Any], source: str) -> None:
    lost = [one for one in annotations if one.get(key) not in known]
    if lost:
        raise InputError(
            f"{source}: expected the {key} of every annotation to be one of the file's, but those "
            f"of {len(lost)} annotations refer to nothing: "
            f"{some(list(dict.fromkeys(one.get(key) for one in lost)))}. Remove these "
            "annotations, or add what they refer to."
        )


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and math.isfinite(value)
