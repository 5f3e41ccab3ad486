"""Architectures beside those of `tiny.FAMILIES`: a short run of each, saved, verified, and answered alike by all."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tiny
import torch
from conftest import rows_of, write_csv
from running import finetune_tiny, plain_logits
from transformers import AutoConfig, AutoModel

import nlp_ft

SIZES: dict[str, Any] = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 48}
SHORT: dict[str, Any] = {"max_position_embeddings": 66}
ONE_KEY: dict[str, Any] = {"num_key_value_heads": 1, "max_position_embeddings": 128}
WORDPIECE, BYTES = (lambda: tiny._wordpiece(True)), tiny._roberta_tokens
BART: dict[str, Any] = {"d_model": 32, "max_position_embeddings": 64} | {
    f"{stack}_{name}": value
    for stack in ("encoder", "decoder")
    for name, value in {"layers": 1, "attention_heads": 2, "ffn_dim": 48}.items()
}
T5: dict[str, Any] = {"d_model": 32, "d_kv": 16, "d_ff": 48, "num_layers": 1, "num_heads": 2}

MORE: dict[str, tuple[Any, dict[str, Any]]] = {
    "xlm-roberta": (BYTES, {**SIZES, **SHORT, "type_vocab_size": 1}),
    "camembert": (BYTES, {**SIZES, **SHORT, "type_vocab_size": 1}),
    "electra": (WORDPIECE, {**SIZES, **SHORT, "embedding_size": 16}),
    "albert": (WORDPIECE, {**SIZES, **SHORT, "embedding_size": 16}),
    "mpnet": (BYTES, {**SIZES, **SHORT}),
    "deberta": (BYTES, {**SIZES, **SHORT, "type_vocab_size": 0}),
    "convbert": (WORDPIECE, {**SIZES, **SHORT, "embedding_size": 32, "head_ratio": 1, "conv_kernel_size": 3}),
    "rembert": (WORDPIECE, {**SIZES, **SHORT, "input_embedding_size": 16, "output_embedding_size": 16}),
    "mobilebert": (
        WORDPIECE,
        {**SIZES, **SHORT, "embedding_size": 16, "intra_bottleneck_size": 16, "true_hidden_size": 16},
    ),
    "mistral": (tiny._llama_tokens, {**SIZES, **ONE_KEY}),
    "gemma": (tiny._qwen_tokens, {**SIZES, **ONE_KEY, "head_dim": 16}),
    "gemma2": (tiny._qwen_tokens, {**SIZES, **ONE_KEY, "head_dim": 16, "sliding_window": 32}),
    "phi3": (tiny._qwen_tokens, {**SIZES, **ONE_KEY}),
    "opt": (
        tiny._gpt2_tokens,
        {
            "hidden_size": 32,
            "word_embed_proj_dim": 32,
            "num_hidden_layers": 2,
            "num_attention_heads": 2,
            "ffn_dim": 48,
            **SHORT,
        },
    ),
    "gpt_neox": (tiny._gpt2_tokens, {**SIZES, **SHORT}),
    "bloom": (tiny._gpt2_tokens, {"hidden_size": 32, "n_layer": 2, "n_head": 2}),
    "mbart": (BYTES, BART),
    "mt5": (tiny._t5_tokens, T5),
}


def _checkpoint(family: str, directory: Path) -> Path:
    make, sizes = MORE[family]
    tokenizer = make()
    torch.manual_seed(0)
    config = AutoConfig.for_model(family, **sizes, **tiny._ids(tokenizer))
    AutoModel.from_config(config).save_pretrained(directory)
    tokenizer.save_pretrained(directory)
    return directory


@pytest.mark.parametrize("lora", [False, pytest.param(True, marks=pytest.mark.slow)])
@pytest.mark.parametrize("family", MORE)
def test_a_short_run_saves_a_model_that_answers_alike(family: str, lora: bool, tmp_path: Path) -> None:
    files = {
        split: write_csv(tmp_path / f"{split}.csv", rows_of(16, i))
        for i, split in enumerate(("train", "validation", "test"))
    }
    checkpoint = _checkpoint(family, tmp_path / "checkpoint")
    flags: dict[str, Any] = {"max_steps": 2, "num_train_epochs": None}
    if lora:
        flags |= {"use_peft": True, "freeze_layers": None if family == "albert" else "1"}  # its layers are one
    run = finetune_tiny(tmp_path / "run", checkpoint, files, **flags)
    loaded = nlp_ft.load(run.output_dir, device="cpu")
    np.testing.assert_allclose(loaded.logits(tiny.TEXTS), plain_logits(run.output_dir, tiny.TEXTS), atol=1e-4)
    alone = np.concatenate([loaded.logits([text]) for text in tiny.TEXTS])
    np.testing.assert_allclose(loaded.logits(tiny.TEXTS), alone, atol=1e-4)
