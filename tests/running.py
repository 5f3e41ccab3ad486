"""A tiny fine-tuning run with flags as a user gives them; shared by the tests of training, checkpoints and reports."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from nlp_ft.flags import parse
from nlp_ft.methods import finetune
from nlp_ft.report import RunReport


def finetune_tiny(
    output_dir: Path, checkpoint: Path, files: dict[str, Path], extra: Sequence[str] = (), **flags: Any
) -> RunReport:
    """`nlp-ft finetune` in this process, on the CPU, two epochs where nothing else is said; `extra`: tokens put last."""
    chosen = {
        "model_name_or_path": checkpoint,
        "output_dir": output_dir,
        **{f"{split}_file": path for split, path in files.items()},
        "use_cpu": True,
        "num_train_epochs": 2,
        **flags,
    }
    argv = [str(token) for name, value in chosen.items() for token in (f"--{name}", value)] + [*extra]
    return finetune.run(*parse(*finetune.ARGUMENTS, argv=argv))


def weights_hash(directory: Path) -> str:
    """sha256 of the saved weights."""
    return hashlib.sha256((directory / "model.safetensors").read_bytes()).hexdigest()
