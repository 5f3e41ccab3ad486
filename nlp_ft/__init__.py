"""Fine-tuning of BERT- and GPT-style checkpoints for text classification.

Names are loaded when first used (PEP 562): `import nlp_ft` imports neither torch nor transformers.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from nlp_ft.errors import ConfigError, DataError, ModelError, NlpFtError, TrainingError

if TYPE_CHECKING:
    from nlp_ft.inference.classifier import Classifier
    from nlp_ft.inference.load import load
    from nlp_ft.inference.prediction import Prediction

__all__ = [
    "Classifier",
    "ConfigError",
    "DataError",
    "ModelError",
    "NlpFtError",
    "Prediction",
    "TrainingError",
    "load",
]
_LAZY = {
    "Classifier": "nlp_ft.inference.classifier",
    "Prediction": "nlp_ft.inference.prediction",
    "load": "nlp_ft.inference.load",
}


def __getattr__(name: str) -> Any:
    if name in _LAZY:
        return getattr(importlib.import_module(_LAZY[name]), name)
    raise AttributeError(f"module 'nlp_ft' has no attribute '{name}'")


def __dir__() -> list[str]:
    return sorted(__all__)
