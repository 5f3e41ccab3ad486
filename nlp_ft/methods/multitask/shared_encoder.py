"""Save the shared encoder, for AutoModel and as a checkpoint for any method."""

from __future__ import annotations

import copy
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
from huggingface_hub import ModelCardData
from torch import nn
from transformers import AutoModel

from nlp_ft.errors import TrainingError
from nlp_ft.methods.multitask.data import TableRow
from nlp_ft.methods.multitask.job import Group
from nlp_ft.methods.multitask.trainer import MultiTask
from nlp_ft.models.checkpoint import quiet
from nlp_ft.models.compare import ROWS_COMPARED
from nlp_ft.models.pooling_file import POOLING_FILE, find_pooling_file
from nlp_ft.models.tokenizer import save_tokenizer
from nlp_ft.training.run_report import base_model
from nlp_ft.training.save import save_verified


def save_body(group: Group, directory: Path, rows: Sequence[TableRow]) -> None:
    """Save the shared encoder without a head, reload it and compare.

    rows: task, metric and figure ("multi-task") of each head on its test rows, for the card.

    Raises: TrainingError if it does not load whole, or does not repeat its hidden states.
    """
    job, model = group.job, group.job.model
    assert isinstance(model, MultiTask)
    body = model.body
    body.config = copy.deepcopy(body.config)  # the first classifier's keeps its labels
    names = {number: f"LABEL_{number}" for number in range(2)}  # what a configuration without labels says
    body.config.id2label, body.config.label2id = names, {name: number for number, name in names.items()}
    body.config.problem_type = None
    texts = list(group.tasks[0].data.validation["text"][:ROWS_COMPARED])
    batch = job.tokenizer(texts, truncation=True, max_length=job.max_seq_length, padding=True, return_tensors="pt")

    start = job.settings["model"]
    pooling = find_pooling_file(
        start["model_name_or_path"], revision=start["model_revision"], cache_dir=start["cache_dir"]
    )

    def write(stage: Path) -> None:
        body.save_pretrained(stage)
        save_tokenizer(job.tokenizer, stage, job.max_seq_length)
        if pooling is not None:  # later runs pool by it
            (stage / POOLING_FILE).parent.mkdir()
            shutil.copyfile(pooling, stage / POOLING_FILE)
        (stage / "README.md").write_text(card(job.settings["model"]["model_name_or_path"], rows), encoding="utf-8")

    save_verified(
        directory,
        body,
        job.tokenizer,
        write=write,
        load=_load_body,
        outputs=lambda module, _: _hidden(module, batch),
        compared="body's hidden states",
    )


def _load_body(stage: Path) -> nn.Module:
    with quiet():
        body, info = AutoModel.from_pretrained(
            stage, dtype=torch.float32, output_loading_info=True, trust_remote_code=False
        )
    # RoBERTa's classifiers have no pooler
    if lost := [key for key in info["missing_keys"] if not key.startswith("pooler.")]:
        raise TrainingError(f"{stage}: the saved body lacks {lost[0]}; do not use it, and report this.")
    return body


@torch.inference_mode()
def _hidden(body: nn.Module, batch: Mapping[str, torch.Tensor]) -> torch.Tensor:
    body.eval()
    device = next(body.parameters()).device
    inputs = {name: tensor.to(device) for name, tensor in batch.items()}
    if getattr(body.config, "is_encoder_decoder", False):  # a T5 body does not make its decoder's inputs itself
        inputs["decoder_input_ids"] = inputs["input_ids"]
    outputs = body(**inputs)
    return outputs[0].float().cpu()


def card(checkpoint: str, rows: Sequence[TableRow]) -> str:
    """Write the text of README.md: source, results of the heads, and use."""
    base, name = base_model(checkpoint)
    data = ModelCardData(
        library_name="transformers", pipeline_tag="feature-extraction", base_model=base, tags=["nlp_ft", "multi-task"]
    )
    figures = [
        f"| {row['task']} | {row['metric']} | {row['multi-task']:.3f} |"
        for row in rows
        if row["multi-task"] is not None
    ]
    tasks = ", ".join(dict.fromkeys(row["task"] for row in rows))
    return "\n".join(
        [
            f"---\n{data.to_yaml()}\n---\n\n# Encoder trained on {tasks}\n",
            f"The encoder of {name}, trained with nlp_ft under a head for each task at once. It has no head of its own; the",
            "classifiers stand beside it. On their test rows they reach:\n",
            "| task | metric | |\n|---|---|---|",
            *figures,
            "\nTo go on from it, in the folder above this one: "
            "`nlp-ft finetune --model_name_or_path body --train_file more.csv --output_dir run`.\n",
        ]
    )
