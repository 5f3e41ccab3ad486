"""Compare the staged copy with the directory it was made from.

The copy is loaded in a fresh process, by plain transformers, without the network.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Sequence
from itertools import pairwise
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
_TIMEOUT = 1800  # seconds


def verify(directory: Path, staged: Staged) -> float:
    """Compare the logits of a few fixed sentences, or of pairs of them.

    Returns: the largest absolute difference.

    Raises: PushError if the staged copy does not load or gives other logits; ModelError if the directory does not load.
    """
    from nlp_ft.inference.load import load

    classifier = load(directory, device="cpu")
    texts: Sequence[str] | Sequence[tuple[str, str]] = SENTENCES
    if classifier.inference_config.text_pair:
        texts = list(pairwise([*SENTENCES, SENTENCES[0]]))
    expected = np.asarray(classifier.logits(texts, batch_size=1), dtype=np.float64)
    by_nlp_ft = not any(name.startswith("model") and name.endswith(".safetensors") for name in staged.files)
    actual = np.asarray(_logits_in_fresh_process(staged.folder, by_nlp_ft, texts), dtype=np.float64)
    difference = float(np.abs(actual - expected).max()) if actual.shape == expected.shape else float("inf")
    if not difference <= TOLERANCE * max(1.0, float(np.abs(expected).max())):
        raise PushError(
            f"the staged copy does not repeat the logits of {directory}: loaded by plain transformers, they differ by "
            f"{difference:.3g}; not pushed."
        )
    return difference


def _logits_in_fresh_process(
    folder: Path, by_nlp_ft: bool, texts: Sequence[str] | Sequence[tuple[str, str]]
) -> list[list[float]]:
    script = Path(__file__).with_name("load_plain.py")
    command = [sys.executable, "-P", str(script), str(folder), *(["nlp_ft"] if by_nlp_ft else [])]
    package = str(Path(__file__).resolve().parents[2])
    inherited = {
        name: value for name, value in os.environ.items() if name not in ("HF_TOKEN", "HUGGING_FACE_HUB_TOKEN")
    }
    env = inherited | {"HF_HUB_OFFLINE": "1", "HF_HUB_DISABLE_PROGRESS_BARS": "1", "TOKENIZERS_PARALLELISM": "false"}
    if by_nlp_ft:
        env["PYTHONPATH"] = os.pathsep.join([package, *filter(None, [os.environ.get("PYTHONPATH")])])
    try:
        done = subprocess.run(
            command, input=json.dumps(texts), capture_output=True, text=True, env=env, timeout=_TIMEOUT
        )
    except subprocess.TimeoutExpired:
        raise PushError(f"the staged copy did not load within {_TIMEOUT} s; not pushed.") from None
    if done.returncode:
        last = (done.stderr.strip().splitlines() or [f"exit code {done.returncode}"])[-1]
        raise PushError(f"the staged copy does not load with plain transformers ({last[:300]}); not pushed.")
    return json.loads(done.stdout.splitlines()[-1])["logits"]
