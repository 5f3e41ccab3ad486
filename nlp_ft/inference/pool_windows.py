"""Pooling of the logits of a document's windows."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
from scipy.special import softmax

from nlp_ft.evaluation.inference_config import LongDocuments


def pool_windows(
    logits: np.ndarray, owners: np.ndarray, texts: int, how: LongDocuments, features: np.ndarray | None = None
) -> np.ndarray:
    """One row of logits a text: (texts, classes) out of (windows, classes).

    owners: the text each window is of, ascending. features: (windows, width), what the last layer read; for attention alone.
    """
    if len(logits) == texts:  # a window each
        return logits
    out = np.empty((texts, logits.shape[1]), dtype=logits.dtype)
    starts = np.searchsorted(owners, np.arange(texts + 1))
    for text, (start, end) in enumerate(pairwise(starts)):
        part = logits[start:end]
        if how.pooling == "max":
            out[text] = part.max(axis=0)
        elif how.pooling == "attention" and features is not None:
            out[text] = softmax(features[start:end] @ np.asarray(how.query, dtype=features.dtype)) @ part
        else:
            out[text] = part.mean(axis=0)
    return out
