"""``dlc-deploy verify BUNDLE``: is it whole, and does this machine give the promised poses?"""

from __future__ import annotations

import argparse
import json
from dataclasses import asdict
from pathlib import Path
from typing import get_args

from dlc_deploy.choices import EngineName
from dlc_deploy.errors import VerificationError

DESCRIPTION = "Check a bundle: checksums, and its golden frame on this machine's engine."


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the verb's arguments."""
    parser.add_argument("bundle", type=Path, help="a bundle's folder")
    parser.add_argument("--device", default="cpu", help="cpu or cuda:N (default: cpu)")
    parser.add_argument("--engine", choices=get_args(EngineName), default="auto")
    parser.add_argument("--json", action="store_true", help="print the result as JSON")


def run(arguments: argparse.Namespace) -> int:
    """Run the verb."""
    from dlc_deploy.bundle import Bundle
    from dlc_deploy.runtime.estimator import load
    from dlc_deploy.runtime.replay import replay_golden, tolerance_of

    bundle = Bundle.open(arguments.bundle)
    damaged = bundle.damaged_files()
    if damaged:
        raise VerificationError(
            f"{bundle.path}: these files are not what the manifest sealed: {', '.join(damaged)}. "
            "Copy the bundle again, or export the snapshot again."
        )
    with load(bundle, device=arguments.device, engine=arguments.engine) as estimator:
        result = replay_golden(estimator, bundle.golden(), tolerance_of(bundle))
        engine = estimator.pipeline.engines["pose"].description
    if arguments.json:
        facts = {"bundle": bundle.manifest.fingerprint, "engine": engine, "passed": result.passed}
        print(json.dumps(facts | asdict(result)))
    result.require()
    if not arguments.json:
        print(
            f"{bundle.path}: {len(bundle.manifest.files)} files as sealed; {engine} gives the "
            f"golden poses ({result.points} points, at most {result.px_max:.2g} px apart)"
        )
    return 0
