"""Comparison of two models' logits, up to rounding."""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import Tensor, nn
from transformers import PreTrainedTokenizerBase

ROWS_COMPARED = 32
TOLERANCE = 1e-3  # of the largest logit (at least 1): merged adapters round differently, a lost layer is far off
_BATCH_SIZE = 8


@torch.inference_mode()
def compute_logits(
    model: nn.Module, tokenizer: PreTrainedTokenizerBase, texts: list[str], pairs: list[str] | None, max_length: int
) -> Tensor:
    """Compute float32 logits (rows, classes) on the CPU, in evaluation mode.

    Texts are truncated at max_length tokens. The model's mode is restored afterwards.
    """
    was_training = model.training
    model.eval()
    device = next(model.parameters()).device
    batches = []
    for start in range(0, len(texts), _BATCH_SIZE):
        rows = slice(start, start + _BATCH_SIZE)
        batch = tokenizer(
            texts[rows],
            pairs and pairs[rows],
            truncation=True,
            max_length=max_length,
            padding=True,
            return_tensors="pt",
        )
        batches.append(model(**batch.to(device)).logits.float().cpu())
    model.train(was_training)
    return torch.cat(batches)


def largest_difference(expected: np.ndarray | Tensor, actual: np.ndarray | Tensor) -> tuple[float, float]:
    """Largest absolute difference of two arrays, and the tolerance for rounding.

    The difference is infinite where the shapes differ.
    """
    expected, actual = np.asarray(expected), np.asarray(actual)
    difference = float(np.abs(actual - expected).max()) if actual.shape == expected.shape else math.inf
    return difference, TOLERANCE * max(1.0, float(np.abs(expected).max()))
