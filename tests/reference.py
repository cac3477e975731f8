"""Where the reference data of DeepLabCut 3.0.2 lies; it is never committed."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

REFERENCE = Path(
    os.environ.get(
        "DLC_DEPLOY_REFERENCE", Path(__file__).resolve().parents[2] / "shared" / "reference"
    )
)

needs_reference = pytest.mark.skipif(
    not (REFERENCE / "README.md").is_file(),
    reason=f"no reference data at {REFERENCE}; set DLC_DEPLOY_REFERENCE to its folder",
)
