"""Paraphrase by text-to-text checkpoints.

By one that rewrites, or by back-translation with two (Sennrich et al. 2016, arXiv:1511.06709).
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Protocol, cast

import torch
from accelerate import PartialState
from accelerate.utils import broadcast_object_list
from torch import Tensor
from tqdm.auto import tqdm
from transformers import AutoModelForSeq2SeqLM, AutoTokenizer, PreTrainedTokenizerBase

from nlp_ft.errors import ModelError
from nlp_ft.models.checkpoint import as_model_error, check_directory, check_weights, quiet
from nlp_ft.training.augmentation.words import fixed_parts, negated

_BATCH = 16
_BEAMS = 4
_LONGEST = 512  # tokens of a text, where the checkpoint does not say


class _Seq2SeqModel(Protocol):
    """The methods of a sequence-to-sequence model that are used here."""

    def to(self, device: str | torch.device) -> object: ...

    def generate(self, **options: object) -> Tensor: ...


def paraphrase(
    texts: Sequence[str],
    models: Sequence[str],
    prefixes: Sequence[str],
    count: int,
    device: str | torch.device = "cpu",
) -> list[list[str]]:
    """Generate candidates per text by beam search, the most likely first.

    count: of candidates to generate per text, at least. Candidates that `keeps_facts` rejects are left out. models: one
    checkpoint that rewrites, or one that translates and one that translates back. prefixes: of the inputs of each model, or
    []. A text that is too long for a checkpoint, or whose output does not end, has no candidates. Rank 0 generates for all
    processes, so that all train on the same rows. A candidate may equal its source.

    Raises: ModelError for a checkpoint that is no sequence-to-sequence model with all its weights, in safetensors.
    """
    candidates: list[list[str]] = [[] for _ in texts]
    if PartialState().is_main_process:
        drafts = _generate(texts, models[0], prefixes[0] if prefixes else "", max(count, _BEAMS), device)
        if len(models) == 2:  # the best back-translation of each translation
            flat = [draft for row in drafts for draft in row[:count]]
            back = iter(_generate(flat, models[1], prefixes[1] if prefixes else "", 1, device))
            drafts = [[text for _ in row[:count] for text in next(back)] for row in drafts]
        candidates = [
            [draft for draft in dict.fromkeys(row) if keeps_facts(text, draft)]
            for text, row in zip(texts, drafts, strict=True)
        ]
    broadcast_object_list(candidates)
    return candidates


def keeps_facts(text: str, other: str) -> bool:
    """Return whether two texts agree in links, numbers and negations.

    They have the same links, mentions, tags and numbers, and both or neither have a negation. A blank `other` never agrees.
    """
    return bool(other.strip()) and fixed_parts(text) == fixed_parts(other) and negated(text) == negated(other)


@torch.inference_mode()
def _generate(
    texts: Sequence[str], name: str, prefix: str, sequences: int, device: str | torch.device
) -> list[list[str]]:
    """Return the most likely outputs for each text, the likeliest first.

    sequences: of outputs to generate per text; one that does not end is left out.
    """
    model, tokenizer, limit = _open(name)
    model.to(device)
    end_of_text = cast("int", tokenizer.eos_token_id)
    lengths = [len(ids) for ids in tokenizer([prefix + text for text in texts], verbose=False)["input_ids"]]
    order = [index for index in sorted(range(len(texts)), key=lambda index: lengths[index]) if lengths[index] <= limit]
    generated: list[list[str]] = [[] for _ in texts]
    with tqdm(total=len(order), desc=f"Generating with {name}", disable=not sys.stderr.isatty()) as bar:
        for indices in [order[start : start + _BATCH] for start in range(0, len(order), _BATCH)]:
            batch = tokenizer([prefix + texts[index] for index in indices], padding=True, return_tensors="pt").to(
                device
            )
            outputs = model.generate(
                input_ids=batch["input_ids"],
                attention_mask=batch["attention_mask"],
                do_sample=False,
                num_beams=max(sequences, _BEAMS),
                num_return_sequences=sequences,
                max_length=None,
                max_new_tokens=2 * max(lengths[index] for index in indices) + 8,
                early_stopping=True,
            )
            ended = outputs[:, 1:].eq(end_of_text).any(dim=1).tolist()
            decoded = tokenizer.batch_decode(outputs, skip_special_tokens=True)
            for output, (text, complete) in enumerate(zip(decoded, ended, strict=True)):
                if complete:
                    generated[indices[output // sequences]].append(text.strip())
            bar.update(len(indices))
    return generated


def _open(name: str) -> tuple[_Seq2SeqModel, PreTrainedTokenizerBase, int]:
    """Load a model and its tokenizer.

    Returns: both, and the longest input in tokens. Raises: ModelError.
    """
    directory = check_directory(name)
    check_weights(directory)
    with quiet(), as_model_error(name, "text-to-text model"):
        tokenizer = AutoTokenizer.from_pretrained(directory, trust_remote_code=False)
        model, info = AutoModelForSeq2SeqLM.from_pretrained(
            directory, dtype=torch.float32, output_loading_info=True, trust_remote_code=False, use_safetensors=True
        )
    if info["missing_keys"]:
        raise ModelError(
            f"{name} has no weight {min(info['missing_keys'])}; wanted a whole text-to-text checkpoint, such as T5 or Marian."
        )
    positions = getattr(model.config, "max_position_embeddings", None) or _LONGEST
    return model.eval(), tokenizer, min(tokenizer.model_max_length, positions)
