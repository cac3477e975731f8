"""How far poses and boxes are from their labels."""

from .boxes import compute_bbox_metrics
from .identity import compute_identity_scores
from .poses import compute_metrics

__all__ = ["compute_bbox_metrics", "compute_identity_scores", "compute_metrics"]
