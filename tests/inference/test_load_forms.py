"""What `load` takes beside a directory: an adapter copied away, a dtype by its name, adapters that plain peft loads too."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from conftest import rows_of, write_csv
from running import finetune_tiny
from tiny import checkpoint

import nlp_ft
from nlp_ft.errors import ConfigError


def _run(family: str, folder: Path, **flags: Any) -> Path:
    files = {
        split: write_csv(folder / f"{split}.csv", rows_of(16, i))
        for i, split in enumerate(("train", "validation", "test"))
    }
    finetune_tiny(folder / "run", checkpoint(family), files, max_steps=2, use_peft=True, **flags)
    return folder / "run"


@pytest.mark.parametrize("family", ["bert", "llama"])
def test_an_adapter_copied_away_has_its_tokenizer_and_settings(family: str, tmp_path: Path) -> None:
    run = _run(family, tmp_path)
    shutil.copytree(run / "adapter", tmp_path / "elsewhere" / "mine")
    texts = ["a lovely film", "an awful one"]
    copied, whole = (nlp_ft.load(place, device="cpu") for place in (tmp_path / "elsewhere" / "mine", run))
    assert (copied.labels, copied.inference_config) == (whole.labels, whole.inference_config)
    np.testing.assert_allclose(copied.logits(texts), whole.logits(texts), atol=1e-4)


@pytest.mark.parametrize("family", ["llama", "gpt2"])
def test_plain_peft_loads_a_decoders_adapter_with_its_pad_token(family: str, tmp_path: Path) -> None:
    """Batches of unlike length: without the pad token the head would read padding, or fail."""
    from peft import AutoPeftModelForSequenceClassification
    from transformers import AutoTokenizer

    run = _run(family, tmp_path, save_adapter_only=True)
    tokenizer = AutoTokenizer.from_pretrained(run)
    model = AutoPeftModelForSequenceClassification.from_pretrained(str(run), num_labels=2).eval()
    model.config.pad_token_id = tokenizer.pad_token_id
    texts = ["a film", "the cast of this film was dreadful and the plot was boring"]
    with torch.inference_mode():
        plain = model(**tokenizer(texts, padding=True, return_tensors="pt")).logits.numpy()
    np.testing.assert_allclose(plain, nlp_ft.load(run, device="cpu").logits(texts), atol=1e-4)


@pytest.mark.parametrize(
    ("given", "wanted"), [("bfloat16", torch.bfloat16), ("torch.float16", torch.float16), ("auto", torch.float32)]
)
def test_a_dtype_may_be_a_name(given: str, wanted: torch.dtype, tmp_path: Path) -> None:
    loaded = nlp_ft.load(_run("bert", tmp_path), device="cpu", dtype=given)
    assert loaded.model.dtype == wanted
    assert loaded.predict(["a film"])[0].label in ("negative", "positive")


@pytest.mark.parametrize("given", ["bf16", "int8", torch.int64, "", 16])
def test_what_is_no_dtype_is_told_before_anything_is_loaded(given: Any, tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        nlp_ft.load(tmp_path, device="cpu", dtype=given)
    assert str(caught.value) == (f"dtype must be one of float16, bfloat16, float32, float64 or auto, got {given!r}.")
