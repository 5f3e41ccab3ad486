"""Pooling of the logits of a document's windows."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
from scipy.special import softmax

from nlp_ft.evaluation.inference_config import LongDocuments


def pool_windows(
    logits: np.ndarray,
    owners: np.ndarray,
    texts: int,
    long_documents: LongDocuments,
    features: np.ndarray | None = None,
) -> np.ndarray:
    """Pool the logits of windows: (windows, classes) to (texts, classes).

    owners: index of each window's text, ascending. features: (windows, width), the inputs of the last layer; for attention
    alone.
    """
    if len(logits) == texts:  # one window each
        return logits
    out = np.empty((texts, logits.shape[1]), dtype=logits.dtype)
    starts = np.searchsorted(owners, np.arange(texts + 1))
    for text, (start, end) in enumerate(pairwise(starts)):
        window_logits = logits[start:end]
        if long_documents.pooling == "max":
            out[text] = window_logits.max(axis=0)
        elif long_documents.pooling == "attention" and features is not None:
            out[text] = (
                softmax(features[start:end] @ np.asarray(long_documents.query, dtype=features.dtype)) @ window_logits
            )
        else:
            out[text] = window_logits.mean(axis=0)
    return out
