"""What is staged answers as the directory does: loaded in a fresh process, by plain transformers, without the network."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np

from nlp_ft.errors import PushError
from nlp_ft.hub.staging import Staged

SENTENCES = (
    "It was a good day.",
    "Nothing came of it in the end.",
    "The train leaves at nine.",
    "Is this what I ordered?",
)
TOLERANCE = 1e-5  # of the largest logit, at least 1
_LONGEST = 1800


def prove(directory: Path, staged: Staged) -> float:
    """Compare the logits of a few fixed sentences. Returns: the largest difference.

    Raises: PushError if the staged copy does not load, or answers otherwise; ModelError if the directory itself does not load.
    """
    from nlp_ft.inference.load import load

    wanted = np.asarray(load(directory, device="cpu").logits(list(SENTENCES), batch_size=1), dtype=np.float64)
    is_adapter = "adapter_config.json" in staged.files
    got = np.asarray(_fresh(staged.folder, is_adapter), dtype=np.float64)
    difference = float(np.abs(got - wanted).max()) if got.shape == wanted.shape else float("inf")
    if not difference <= TOLERANCE * max(1.0, float(np.abs(wanted).max())):
        raise PushError(
            f"what would be pushed does not answer as {directory} does: loaded by plain transformers, its logits are off by "
            f"{difference:.3g}; not pushed."
        )
    return difference


def _fresh(folder: Path, is_adapter: bool) -> list[list[float]]:
    script = Path(__file__).with_name("load_plain.py")
    command = [sys.executable, "-P", str(script), str(folder), *(["adapter"] if is_adapter else [])]
    package = str(Path(__file__).resolve().parents[2])
    held = {name: value for name, value in os.environ.items() if name not in ("HF_TOKEN", "HUGGING_FACE_HUB_TOKEN")}
    env = held | {"HF_HUB_OFFLINE": "1", "HF_HUB_DISABLE_PROGRESS_BARS": "1", "TOKENIZERS_PARALLELISM": "false"}
    if is_adapter:
        env["PYTHONPATH"] = os.pathsep.join([package, *filter(None, [os.environ.get("PYTHONPATH")])])
    try:
        done = subprocess.run(
            command, input=json.dumps(SENTENCES), capture_output=True, text=True, env=env, timeout=_LONGEST
        )
    except subprocess.TimeoutExpired:
        raise PushError(f"what would be pushed did not load within {_LONGEST} s; not pushed.") from None
    if done.returncode:
        last = (done.stderr.strip().splitlines() or [f"exit code {done.returncode}"])[-1]
        raise PushError(f"what would be pushed does not load with plain transformers ({last[:300]}); not pushed.")
    return json.loads(done.stdout.splitlines()[-1])["logits"]
