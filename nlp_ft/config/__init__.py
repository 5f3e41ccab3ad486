"""Arguments that every method shares, checked where they are declared.

They are named as in run_classification.py, and for LoRA as in TRL.
"""

from nlp_ft.config.data import DataArguments, LongTextArguments
from nlp_ft.config.model import LoraArguments, ModelArguments
from nlp_ft.config.training import FitArguments, FreezeArguments, HubArguments

PROBLEM_TYPES = ("single_label_classification", "multi_label_classification", "regression")

__all__ = [
    "PROBLEM_TYPES",
    "DataArguments",
    "FitArguments",
    "FreezeArguments",
    "HubArguments",
    "LongTextArguments",
    "LoraArguments",
    "ModelArguments",
]
