"""Comparison of two models' logits, up to rounding."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

ROWS_COMPARED = 32


TOLERANCE = 1e-3  # of the largest logit (at least 1): merged adapters round differently, a lost layer is far off


_ROWS_A_BATCH = 8


@torch.inference_mode()
def logits_of(model: nn.Module, tokenizer: Any, texts: list[str], pairs: list[str] | None, max_length: int) -> Tensor:
    """Float32 logits (rows, classes) on the CPU, in evaluation mode, of texts cut to max_length tokens."""
    was_training = model.training
    model.eval()
    device = next(model.parameters()).device
    found = []
    for start in range(0, len(texts), _ROWS_A_BATCH):
        part = slice(start, start + _ROWS_A_BATCH)
        batch = tokenizer(
            texts[part],
            pairs and pairs[part],
            truncation=True,
            max_length=max_length,
            padding=True,
            return_tensors="pt",
        )
        found.append(model(**batch.to(device)).logits.float().cpu())
    model.train(was_training)
    return torch.cat(found)


def off_by(wanted: Any, got: Any) -> tuple[float, float]:
    """The largest difference of two arrays or tensors, infinite for other shapes, and how much of it rounding may be."""
    wanted, got = np.asarray(wanted), np.asarray(got)
    difference = float(np.abs(got - wanted).max()) if got.shape == wanted.shape else math.inf
    return difference, TOLERANCE * max(1.0, float(np.abs(wanted).max()))
