"""Checkpoints with a manifest, and a resume that takes whole ones alone.

Trainer's checkpoints are not atomic, and it resumes from the highest number, whole or not; a missing optimizer.pt or
rng_state.pth changes the result without a word, and a flipped bit in model.safetensors is not noticed.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
from collections.abc import Collection, Mapping
from pathlib import Path

from accelerate import PartialState
from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from nlp_ft.errors import ConfigError

MANIFEST = "manifest.json"
ASKED = "asked.json"  # of a finished piece of a run (a fold, a source): what it was made with
RESULT = (  # of TrainingArguments: what training leads to depends on them, whatever the method
    "seed",
    "data_seed",
    "optim",
    "optim_args",
    "adam_beta1",
    "adam_beta2",
    "adam_epsilon",
    "lr_scheduler_type",
    "lr_scheduler_kwargs",
    "warmup_steps",
    "weight_decay",
    "max_grad_norm",
    "max_steps",
    "label_smoothing_factor",
)
_SAVING = {"save_strategy", "save_steps", "save_total_limit", "save_only_model"}  # flags that ask for checkpoints
_NAME = re.compile(r"checkpoint-(\d+)")


class ManifestCallback(TrainerCallback):
    """Write each checkpoint's manifest once every process has written its share."""

    def __init__(self, run: Mapping[str, object]) -> None:
        self.run = dict(run)

    def on_save(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: object) -> None:
        """After Trainer has saved `checkpoint-<step>`."""
        PartialState().wait_for_everyone()
        if state.is_world_process_zero:
            write_manifest(Path(str(args.output_dir)) / f"checkpoint-{state.global_step}", self.run)


def _sha256(path: Path) -> str:
    with path.open("rb") as handle:
        return hashlib.file_digest(handle, "sha256").hexdigest()


def write_manifest(directory: Path, run: Mapping[str, object]) -> None:
    """Record size and sha256 of every file, and the run they belong to.

    The manifest is complete on disk before it gets its name.
    """
    files = {
        p.name: {"size": p.stat().st_size, "sha256": _sha256(p)} for p in sorted(directory.iterdir()) if p.is_file()
    }
    part = directory / f"{MANIFEST}.part"
    with part.open("w", encoding="utf-8") as handle:
        json.dump({"run": run, "files": files}, handle, indent=1)
        handle.flush()
        os.fsync(handle.fileno())
    part.replace(directory / MANIFEST)


def fault(directory: Path) -> str | None:
    """Return why a checkpoint cannot be resumed from; None where it is whole."""
    try:
        files = json.loads((directory / MANIFEST).read_text(encoding="utf-8"))["files"]
    except FileNotFoundError:
        return "it has no manifest.json: its save was cut short, or it is not of this program"
    except (OSError, ValueError, KeyError, TypeError):
        return "its manifest.json cannot be read"
    if "scheduler.pt" not in files:
        return "it was saved with --save_only_model, without what training would go on from"
    for name, wanted in files.items():
        path = directory / name
        if not path.is_file():
            return f"{name} is missing"
        if path.stat().st_size != wanted["size"]:
            return f"{name} has {path.stat().st_size} bytes, {wanted['size']} were written"
        if _sha256(path) != wanted["sha256"]:
            return f"the content of {name} has changed since it was written"
    return None


def numbered(output_dir: Path) -> list[Path]:
    """Checkpoints of a directory, the highest step first; links are not followed."""
    checkpoints = [
        p for p in output_dir.glob("checkpoint-*") if _NAME.fullmatch(p.name) and p.is_dir() and not p.is_symlink()
    ]
    return sorted(checkpoints, key=lambda p: int(p.name.removeprefix("checkpoint-")), reverse=True)


def choose(resume: str, output_dir: Path, run: Mapping[str, object]) -> tuple[Path, list[str]]:
    """Choose the checkpoint to resume from; warn of newer ones passed over.

    resume: `True` (or `true`, `1`) for the newest whole one in output_dir, else a path, which must be whole.

    Raises: ConfigError if there is none, or if it belongs to a run with other data, labels, checkpoint or batches.
    """
    if resume.lower() not in ("true", "1", "yes"):
        path = Path(resume)
        reason = fault(path) if path.is_dir() else "there is no such directory"
        if reason:
            raise ConfigError(f"--resume_from_checkpoint {resume}: {reason}.")
        _check_same_run(path, run)
        return path, []
    warnings = []
    for path in numbered(output_dir):
        if (reason := fault(path)) is None:
            _check_same_run(path, run)
            return path, warnings
        warnings.append(f"{path} is passed over: {reason}")
    detail = f" ({warnings[0]})" if warnings else ""
    raise ConfigError(f"--resume_from_checkpoint: {output_dir} holds no whole checkpoint{detail}.")


def finished(directory: Path, identity: Mapping[str, object]) -> bool:
    """Return whether a piece of a run (a fold, a source) is finished.

    A resumed run takes such a piece as it is.


    identity: that which `begin` kept of it. Raises: ConfigError if it was made with other settings or rows, or does not say.
    """
    if not (directory / "run.json").exists():
        return False
    mend = f"name another --output_dir, or remove {directory}."
    try:
        saved = json.loads((directory / ASKED).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        raise ConfigError(f"{directory} is finished, but does not say with which settings; {mend}") from None
    if (differs := _difference(saved, identity)) is None:
        return True
    raise ConfigError(f"{directory} is finished, and of another run: {_told(*differs)}; {mend}")


def begin(directory: Path, identity: Mapping[str, object]) -> None:
    """Keep what a piece of a run is made with, for `finished`; before it is made."""
    if PartialState().is_main_process:
        directory.mkdir(parents=True, exist_ok=True)
        part = directory / f"{ASKED}.part"
        part.write_text(json.dumps(dict(identity), indent=1), encoding="utf-8")
        part.replace(directory / ASKED)


def start_of(settings: Mapping[str, dict[str, object]]) -> dict[str, object]:
    """Arguments that a run starts from: checkpoint, adapters, weights below them.

    The last as `weights_of` tells them: a checkpoint of adapters does not hold them, so they must still be those.
    """
    model, lora = settings["model"], settings["lora"]
    below = weights_of(str(model["model_name_or_path"])) if lora["use_peft"] else None
    return {**{k: v for k, v in model.items() if k != "cache_dir"}, **lora, "weights": below}


def weights_of(checkpoint: str) -> str | None:
    """sha256 of a directory's weights, those of its adapters included.

    None for a name on the Hub, which has a revision.
    """
    folder = Path(checkpoint)
    if not folder.is_dir():
        return None
    key = hashlib.sha256()
    for path in sorted(p for parent in (folder, folder / "adapter") for p in parent.glob("*.*")):
        if path.suffix in (".safetensors", ".bin", ".gguf"):
            key.update(f"{path.name} {_sha256(path)};".encode())
    return key.hexdigest()


def remove_finished(output_dir: Path, explicit: Collection[str]) -> None:
    """Remove a finished run's checkpoints, unless a flag asked for them.

    Only an interrupted run needs them.
    """
    if not _SAVING & set(explicit):
        for path in numbered(output_dir):
            if (path / MANIFEST).is_file():
                shutil.rmtree(path)


def _check_same_run(path: Path, run: Mapping[str, object]) -> None:
    saved = json.loads((path / MANIFEST).read_text(encoding="utf-8"))["run"]
    if differs := _difference(saved, run):
        raise ConfigError(
            f"{path} belongs to another run: {_told(*differs)}; resume with what it was made with, or start anew in another "
            "--output_dir."
        )


def _told(name: str, saved: object, current: object) -> str:
    """A difference, as a clause; nobody compares digests by eye."""
    group, _, part = name.partition(" ")
    if group in ("data", "weights"):
        return f"it was made from other {group}{part and ' '}{part} than this one"
    return f"its {name} is {saved}, this one's is {current}"


def _difference(saved: Mapping[str, object], run: Mapping[str, object]) -> tuple[str, object, object] | None:
    """First difference of a run from its record: name, as saved, as it is now."""
    for name, value in json.loads(json.dumps(dict(run))).items():
        before = saved.get(name)
        if isinstance(before, dict) and isinstance(value, dict) and (inner := _difference(before, value)):
            return f"{name} ({inner[0]})", *inner[1:]
        if before != value:
            return name, before, value
    return None
