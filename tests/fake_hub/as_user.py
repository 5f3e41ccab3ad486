"""What users do with a Hub, in a process of its own: push a model and a dataset, load both; prints what came back as JSON.

Everything is done twice, by LFS (`me/model_lfs`, `me/data_lfs`) and by Xet (`me/model_xet`, `me/data_xet`).
"""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from typing import Any

import torch
from datasets import Dataset, load_dataset
from huggingface_hub import constants
from transformers import (
    AutoModelForSequenceClassification,
    AutoTokenizer,
    BertConfig,
    BertForSequenceClassification,
    BertTokenizer,
    pipeline,
)

TEXTS = ["a lovely film", "a boring film"]
_WORDS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "a", "lovely", "boring", "film"]
_SIZES: dict[str, Any] = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 16}


def tiny(seed: int) -> tuple[BertForSequenceClassification, BertTokenizer]:
    """A random classifier and its tokenizer."""
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "vocab.txt").write_text("\n".join(_WORDS), encoding="utf-8")
        tokenizer = BertTokenizer.from_pretrained(folder)
    torch.manual_seed(seed)
    config = BertConfig(vocab_size=len(_WORDS), initializer_range=0.5, **_SIZES)
    return BertForSequenceClassification(config).eval(), tokenizer


def round_trip(mode: str) -> dict[str, Any]:
    """What was pushed and what came back."""
    constants.HF_HUB_DISABLE_XET = mode == "lfs"
    model: Any
    model, tokenizer = tiny(seed=len(mode) + ord(mode[0]))
    model.push_to_hub(f"me/model_{mode}", private=True)
    tokenizer.push_to_hub(f"me/model_{mode}")
    again: Any = AutoModelForSequenceClassification.from_pretrained(f"me/model_{mode}").eval()
    batch: Any = AutoTokenizer.from_pretrained(f"me/model_{mode}")(TEXTS, padding=True, return_tensors="pt")
    with torch.inference_mode():
        expected, found = model(**batch).logits, again(**batch).logits
    classify: Any = pipeline  # by name alone, the task is the Hub's to tell
    answers = classify(model=f"me/model_{mode}")(TEXTS)

    rows = {"text": TEXTS, "label": [ord(mode[0]), 0]}
    Dataset.from_dict(rows).push_to_hub(f"me/data_{mode}", private=True)
    streamed: list[Any] = list(load_dataset(f"me/data_{mode}", split="train", streaming=True))
    loaded: Any = load_dataset(f"me/data_{mode}", split="train")
    return {
        "same_logits": torch.equal(expected, found),
        "labels": [answer["label"] for answer in answers],
        "expected_labels": [model.config.id2label[i] for i in expected.argmax(-1).tolist()],
        "rows": rows,
        "loaded": loaded.to_dict(),
        "streamed": {key: [row[key] for row in streamed] for key in rows},
    }


if __name__ == "__main__":
    print(json.dumps({mode: round_trip(mode) for mode in ("lfs", "xet")}))
