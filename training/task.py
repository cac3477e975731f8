"""What a model is trained to do."""

from __future__ import annotations

from enum import Enum


class Task(Enum):
    """A task; ``Task("td")``, ``Task("TD")`` and ``Task("TopDown")`` are the same.

    The names and aliases are DeepLabCut's (``pose_estimation_pytorch/task.py``).
    """

    BOTTOM_UP = ("BU", "BottomUp")
    DETECT = ("DT", "Detect")
    TOP_DOWN = ("TD", "TopDown")
    COND_TOP_DOWN = ("CTD", "CondTopDown", "ConditionalTopDown")

    @property
    def aliases(self) -> tuple[str, ...]:
        """Other ways to say it."""
        names: tuple[str, ...] = self.value
        return names

    @property
    def snapshot_prefix(self) -> str:
        """How names of its snapshots begin."""
        return "snapshot-detector" if self is Task.DETECT else "snapshot"

    @property
    def of_crops(self) -> bool:
        """Whether the model sees one animal's crop instead of the whole image."""
        return self in (Task.TOP_DOWN, Task.COND_TOP_DOWN)

    @classmethod
    def _missing_(cls, value: object) -> Task | None:
        wanted = str(value).lower()
        for task in cls:
            if wanted in (alias.lower() for alias in task.aliases):
                return task
        return None

    def __repr__(self) -> str:
        return f"Task.{self.name}"
