"""The spine of every run: directory, identity, resume, guards, record.

A method brings its arguments, its mathematics and its report; what all runs share is here, once:

    claim_directory     the output directory is free, or holds what this run resumes
    identity            what a resumed or reused piece must have in common with the run that takes it
    run_trainer         resume, train under the guards of `CheckedTrainer`, with a manifest for each checkpoint
    complete            all_results.json, then run.json, the done-marker; then the checkpoints go

`training.save.save_verified` writes the weights: save, fresh load, compare.
"""

from __future__ import annotations

import math
import os
import sys
import time
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from accelerate import PartialState
from datasets import disable_progress_bars
from torch import nn
from transformers import TrainingArguments, set_seed
from transformers.utils.logging import disable_progress_bar

from nlp_ft.config import FitArguments
from nlp_ft.errors import ConfigError
from nlp_ft.training import checkpointing
from nlp_ft.training.run_report import RunReport
from nlp_ft.training.trainer import CheckedTrainer, set_callbacks
from nlp_ft.utils import log, versions, write_json

RECORD = "run.json"  # the done-marker: written last
RESULTS = "all_results.json"
GROUPS = ("augment", "freeze", "long_texts")  # of arguments, that decide the weights wherever a method takes them
_BATCH = ("per_device_train_batch_size", "gradient_accumulation_steps")


def claim_directory(args: TrainingArguments, explicit: Iterable[str] | None = None) -> None:
    """Claim the output directory, check the processes, and set the seed.

    Before anything is read. Bars are shown on terminals only.

    Raises: ConfigError if the directory holds a run already, or several GPUs would be driven by one process.
    """
    _check_processes(args)
    output = Path(str(args.output_dir))
    _check_writable(output)
    held = sorted(p.name for p in output.iterdir()) if output.is_dir() else []
    if held and not args.resume_from_checkpoint:
        more = ", ..." if len(held) > 4 else ""
        raise ConfigError(
            f"--output_dir {output} holds something already ({', '.join(held[:4])}{more}); name another, or continue an "
            "interrupted run with --resume_from_checkpoint True. Nothing is written over."
        )
    if (output / RECORD).exists():
        raise ConfigError(f"--output_dir {output} holds a finished run; there is nothing to resume. Name another.")
    if explicit is None or "log_level" not in explicit:
        args.log_level = "error"  # what matters of transformers' warnings is checked here, and logged or raised
    if explicit is None or "disable_tqdm" not in explicit:
        args.disable_tqdm = not sys.stderr.isatty()
    if args.disable_tqdm:
        disable_progress_bars()
        disable_progress_bar()
    if args.device.type == "cpu" and (explicit is None or "dataloader_pin_memory" not in explicit):
        args.dataloader_pin_memory = False  # there is nothing to pin for, and torch warns in every evaluation
    set_seed(args.seed)
    PartialState().wait_for_everyone()  # rank 0 may write to the directory that all must have seen empty


def _check_processes(args: TrainingArguments) -> None:
    started = int(os.environ.get("WORLD_SIZE", "1"))
    if started > 1 and args.world_size == 1:
        raise ConfigError(
            f"{started} processes were started, and each would train alone; on the CPU add --use_cpu to join them."
        )
    if args.n_gpu > 1:
        raise ConfigError(
            f"{args.n_gpu} GPUs are visible to one process; start one process a GPU (accelerate launch --num_processes "
            f"{args.n_gpu} ...), or set CUDA_VISIBLE_DEVICES=0 to use one."
        )


def _check_writable(output: Path) -> None:
    """Refuse a directory that cannot be written to, before training.

    Raises: ConfigError.
    """
    nearest = next(path for path in (output, *output.absolute().parents) if path.exists())
    if not nearest.is_dir():
        what = f"{output} is" if nearest == output else f"{output}: {nearest} is"
        raise ConfigError(f"--output_dir {what} a file; wanted a new or empty directory.")
    if not os.access(nearest, os.W_OK | os.X_OK):
        raise ConfigError(f"--output_dir {output}: no permission to write in {nearest}; name another.")


def restart(args: TrainingArguments) -> None:
    """Seed again after other fits of the same run.

    Nothing is resumed where there is nothing to resume from.
    """
    set_seed(args.seed)
    if not checkpointing.numbered(Path(str(args.output_dir))):
        args.resume_from_checkpoint = None


def rows_per_update(args: TrainingArguments) -> int:
    """Rows of one optimizer step, over all processes and accumulation steps."""
    return args.per_device_train_batch_size * args.gradient_accumulation_steps * args.world_size


def identity(
    settings: Mapping[str, dict[str, object]],
    args: TrainingArguments,
    *,
    data: object,
    max_seq_length: int | None,
    groups: Sequence[str] = GROUPS,
    ignored: Collection[str] = (),
    **more: object,
) -> dict[str, object]:
    """Return what a checkpoint and the run that resumes it must share.

    Args:
        settings: every resolved argument by group, as run.json has them.
        args: the training arguments as they came to be.
        data: digests of the rows that decide the weights.
        max_seq_length: tokens after which texts are cut.
        groups: those of GROUPS that the method takes.
        ignored: the method's own arguments that do not decide the weights.
        more: what else decides them; by default epochs and rows per update count.
    """
    counted = more or {"num_train_epochs": args.num_train_epochs, "rows_per_update": rows_per_update(args)}
    return {
        **_arguments(settings, groups, ignored),
        "data": data,
        "max_seq_length": max_seq_length,
        "learning_rate": args.learning_rate,
        **counted,
    }


def piece_identity(
    settings: Mapping[str, dict[str, object]], explicit: Collection[str] | None, processes: int
) -> dict[str, object]:
    """Return what a finished fold or source and its run must share, but for rows.

    settings: every argument by group, as they came. explicit: the names the user set; of what is chosen where he sets
    nothing, the piece must have been left to choose, too. None: the arguments hold as they are.
    """
    training, fit = settings["training"], settings["fit"]

    def value(name: str) -> object:
        return training[name] if explicit is None or name in explicit else "chosen"

    rows = math.prod(int(str(training[name])) for name in _BATCH) * processes
    return {
        **_arguments(settings, GROUPS, ()),
        **{k: v for k, v in fit.items() if k != "with_control"},
        "max_seq_length": settings["data"]["max_seq_length"],
        **{k: value(k) for k in ("learning_rate", "num_train_epochs", "optim_args", "metric_for_best_model")},
        **{k: training[k] for k in ("eval_strategy", "eval_steps", "load_best_model_at_end")},
        "rows_per_update": rows if explicit is None or {*_BATCH} & {*explicit} else "chosen",
        "weights": checkpointing.weights_of(str(settings["model"]["model_name_or_path"])),
    }


def _arguments(
    settings: Mapping[str, dict[str, object]], groups: Sequence[str], ignored: Collection[str]
) -> dict[str, object]:
    method = settings.get(str(settings["method"]["name"]), {})
    shared: dict[str, object] = dict(checkpointing.start_of(settings))
    for group in groups:
        shared |= settings.get(group, {})
    shared |= {name: value for name, value in method.items() if name not in ignored}
    return shared | {name: settings["training"][name] for name in checkpointing.RESULT}


@dataclass
class TrainerRun:
    """A trained model, its metrics and its log.

    metrics: those of `Trainer.train` as train_*, with minutes. kept_step: the update whose weights the model has, if they
    are those of the best checkpoint.
    """

    model: nn.Module
    metrics: dict[str, float]
    log_history: list[dict[str, float]]
    kept_step: int | None = None


def run_trainer(
    trainer: CheckedTrainer,
    identity: Mapping[str, object],
    fit: FitArguments | None = None,
    *,
    evaluate_first: bool = False,
) -> TrainerRun:
    """Resume where asked, and train, in place; each checkpoint gets its manifest.

    identity: what a checkpoint must have in common with this run. fit: early stopping, where the method has it.
    evaluate_first: evaluate before the first update; a resumed run has that in its log.

    Raises: TrainingError if a loss, gradient or weight is not finite; ConfigError if the checkpoint to resume from is not of
    this run.
    """
    resume = _checkpoint(trainer.args, identity)
    trainer.args.eval_on_start = evaluate_first and resume is None
    trainer.add_callback(checkpointing.ManifestCallback(identity))
    set_callbacks(trainer, fit)
    started = time.monotonic()
    result = trainer.train(resume_from_checkpoint=resume)
    metrics = {f"train_{k.removeprefix('train_')}": v for k, v in result.metrics.items()}
    metrics["train_minutes"] = (time.monotonic() - started) / 60
    assert trainer.model is not None
    kept_step = trainer.state.best_global_step if trainer.args.load_best_model_at_end else None
    return TrainerRun(trainer.model, metrics, trainer.state.log_history, kept_step)


def _checkpoint(args: TrainingArguments, identity: Mapping[str, object]) -> str | None:
    """The checkpoint to resume from, or None."""
    if not args.resume_from_checkpoint:
        return None
    path, warnings = checkpointing.choose(str(args.resume_from_checkpoint), Path(str(args.output_dir)), identity)
    log(*(f"warning: {warning}" for warning in warnings), f"resuming from {path}")
    return str(path)


def complete(report: RunReport, explicit: Collection[str], **facts: object) -> None:
    """Write the record, done-marker last, and remove the checkpoints.

    On rank 0, after all else.

    explicit: the names the user set; checkpoints asked for by a flag stay. facts: what the method has to record (`data`, at
    least). Numbers that are not finite become null in the log, for which JSON has no word: fp16 logs such a gradient norm
    when it skips a step.
    """
    directory = report.output_dir
    if report.metrics:
        write_json(directory / RESULTS, dict(sorted(report.metrics.items())))
    record = {
        "arguments": report.settings,
        "versions": versions(),
        "seed": report.settings["training"]["seed"],
        "notes": report.notes,
        "verdict": report.verdict,
        "metrics": report.metrics,
        "log_history": [{k: _finite(v) for k, v in entry.items()} for entry in report.log_history],
        **facts,
    }
    write_json(directory / RECORD, record)
    checkpointing.remove_finished(directory, explicit)


def _finite(value: object) -> object:
    return None if isinstance(value, float) and not math.isfinite(value) else value
