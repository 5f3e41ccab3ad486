"""Steps of an `nlp-ft pretrain` run."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields, replace
from pathlib import Path

import numpy as np
from accelerate import PartialState

from nlp_ft.config import LoraArguments
from nlp_ft.data import TextData, Unlabelled, load_data, load_texts, tokenize_texts
from nlp_ft.errors import ConfigError
from nlp_ft.methods.pretrain import language_model, report, trainer
from nlp_ft.methods.pretrain.arguments import PretrainArguments
from nlp_ft.methods.pretrain.language_model import Body
from nlp_ft.methods.pretrain.masking import Masking, with_fixed_masks
from nlp_ft.methods.pretrain.trainer import Task
from nlp_ft.models import classifier
from nlp_ft.models.layers import keep_in_eval_mode
from nlp_ft.training.controls import control_arguments
from nlp_ft.training.job import parameters_note
from nlp_ft.training.run import TrainerRun, claim_directory, complete, identity
from nlp_ft.training.run_report import RunReport
from nlp_ft.training.settings import Settings
from nlp_ft.utils import log

_NO_HEAD = "a body has no classifier head; give it to the run that fine-tunes the body"
_NO_LABELS = "texts are read without labels, and one part of them is held out at random; leave it out"
_PROBE_ALONE = "labels are read from --probe_file alone; name one, or leave it out"
_MEANINGLESS = {
    **dict.fromkeys(("pooling", "head_start"), _NO_HEAD),
    "train_file": "texts without labels are named by --text_file",
    **dict.fromkeys(("test_split_name", "num_folds", "group_column", "time_column", "mixing"), _NO_LABELS),
    **dict.fromkeys(("class_weights", "threshold_metric"), "there are no classes"),
    "save_adapter_only": "the next run needs a whole body; adapters are merged into it",
}
_FOR_PROBE = (
    *("test_file", "test_split_size", "label_column_name", "problem_type", "text_pair_column_name"),
    "max_predict_samples",
)


def run(*arguments: object, frames: Mapping[str, object] | None = None) -> RunReport:
    """Pre-train, save, probe and report.

    arguments: as `flags.parse(*ARGUMENTS)` returns them. frames: data frames in place of files: train and validation (texts),
    probe (labelled rows).
    """
    settings = Settings.of("pretrain", arguments, PretrainArguments)
    frames = dict(frames or {})
    _refuse_meaningless(settings, frames)
    claim_directory(settings.training, settings.explicit)
    texts, labelled = _read(settings, frames)
    log(*texts.notes)
    body, task, notes = _make(settings, texts)
    log(*notes)
    head_alone = _head_alone(settings, texts) if settings.fit.with_control and body.new_head else None
    trained = trainer.train(task)
    return _finish(settings, texts, labelled, body, task, trained, [*texts.notes, *notes], head_alone)


def _refuse_meaningless(settings: Settings[PretrainArguments], frames: Mapping[str, object]) -> None:
    """Refuse arguments that were set and have no meaning here. Raises: ConfigError."""
    probed = settings.method_arguments.probe_file is not None or "probe" in frames
    refused = _MEANINGLESS if probed else _MEANINGLESS | dict.fromkeys(_FOR_PROBE, _PROBE_ALONE)
    for group in (settings.model, settings.data, settings.lora, settings.fit):
        for field in fields(group):
            if field.name in refused and getattr(group, field.name) != field.default:
                raise ConfigError(f"--{field.name} means nothing in pretrain: {refused[field.name]}.")


def _read(settings: Settings[PretrainArguments], frames: Mapping[str, object]) -> tuple[Unlabelled, TextData | None]:
    """Read the texts, and the labelled rows, if any.

    Reading the labelled rows now reports a mistake in them before training.
    """
    arguments, data, seed = settings.method_arguments, settings.data, settings.training.seed
    files = {
        "train": frames.get("train", arguments.text_file),
        "validation": frames.get("validation", data.validation_file),
    }
    sources = {split: source for split, source in files.items() if source is not None}
    texts = load_texts(data, sources, paragraphs=arguments.paragraphs, seed=seed)
    probe = frames.get("probe", arguments.probe_file)
    if probe is None:
        return texts, None
    options = replace(data, dataset_name=None, train_file=None, validation_file=None, max_train_samples=None)
    return texts, load_data(replace(options, validation_split_size=0.1), seed=seed, frames={"train": probe})


def _make(settings: Settings[PretrainArguments], texts: Unlabelled) -> tuple[Body, Task, list[str]]:
    """Build the language model, with adapters under --use_peft, its task and notes."""
    arguments, training = settings.method_arguments, settings.training
    body = language_model.open_body(settings.model, training.seed)
    if body.causal and arguments.whole_word_mask:
        raise ConfigError("--whole_word_mask: this checkpoint is a decoder, which masks nothing; leave it out.")
    masking = None if body.causal else Masking.of(body.tokenizer, arguments.mlm_probability)
    limit = classifier.token_limit(body.model, body.tokenizer, settings.data.max_seq_length)
    splits, truncation = {}, []
    for split, rows in (("train", texts.train), ("validation", texts.validation)):
        units = {"words": arguments.whole_word_mask, "group": arguments.group_texts}
        workers = settings.data.preprocessing_num_workers
        splits[split], note = tokenize_texts(rows, body.tokenizer, limit, split=split, num_proc=workers, **units)
        truncation.append(note)
    if masking is not None:
        splits["validation"] = with_fixed_masks(splits["validation"], masking, training.seed)
    _, parameters = classifier.count_parameters(body.model)
    use_peft = settings.lora.use_peft
    chosen = trainer.choose_schedule(training, settings.explicit, len(splits["train"]), parameters, use_peft)
    model = (
        classifier.add_lora(body.model, settings.lora, language_model.head_to_train(body)) if use_peft else body.model
    )
    shared = identity(
        settings.to_dict(training),
        training,
        data=texts.fingerprint["sha256"],
        max_seq_length=limit,
        groups=(),
        ignored=("text_file", "probe_file"),
    )
    task = Task(model, body.tokenizer, masking, splits, training, settings.fit, shared, limit)
    return body, task, [*truncation, *body.notes, *chosen, parameters_note(model)]


def _head_alone(settings: Settings[PretrainArguments], texts: Unlabelled) -> float:
    """Train a new head on the frozen body, as a control. Returns: its held-out loss.

    It costs as much as the run; its files are deleted.
    """
    log("control: a new head on the frozen body")
    with control_arguments(settings.training, "head_alone") as training:
        body, task, _ = _make(replace(settings, training=training, lora=LoraArguments()), texts)
        frozen = {id(parameter) for parameter in body.model.base_model.parameters()}
        for parameter in body.model.parameters():
            parameter.requires_grad = id(parameter) not in frozen
        keep_in_eval_mode(body.model.base_model)  # dropout would be noise that nothing in it learns from
        return trainer.train(task).metrics["eval_loss"]


def _finish(
    settings: Settings[PretrainArguments],
    texts: Unlabelled,
    labelled: TextData | None,
    body: Body,
    task: Task,
    trained: TrainerRun,
    notes: list[str],
    head_alone: float | None,
) -> RunReport:
    """Save the body, compare it with a fresh load, probe it and report."""
    state, directory = PartialState(), Path(str(settings.training.output_dir))
    if state.is_main_process:
        language_model.save_body(body, trained.model, directory, list(texts.validation["text"][:8]))
    state.wait_for_everyone()
    rows = len(task.splits["validation"])
    sentences = [report.verdict(trained.metrics, body.causal, bool(body.new_head), rows, head_alone)]
    metrics = trained.metrics | ({} if head_alone is None else {"control_head_alone_eval_loss": head_alone})
    probes: report.Probes | None = None
    if labelled is not None:
        probes = report.probes(labelled, settings.model, directory, task.max_seq_length, settings.training)
        sentences, metrics = [*sentences, *probes.sentences()], metrics | probes.metrics()
        overlap = report.seen_in_training(texts, labelled.test)
        notes = [*notes, overlap] if overlap else notes
    results = RunReport(
        output_dir=directory,
        metrics=metrics,
        baselines={} if probes is None else {"probe_before": probes.before},
        verdict="\n".join(sentences),
        notes=notes,
        settings=settings.to_dict(settings.training),
        log_history=trained.log_history,
        test_logits=np.empty((0, 0)) if probes is None else probes.after.logits,
        title="pre-trained",
    )
    if state.is_main_process:
        report.write_report(results, texts, body.causal)
        probe = {} if labelled is None else {"probe": labelled.fingerprint}
        complete(results, settings.explicit or (), data={**texts.fingerprint, **probe})
    state.wait_for_everyone()
    log(report.describe(results))
    return results
