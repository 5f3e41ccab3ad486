"""The arguments every method shares: named as in run_classification.py, for LoRA as in TRL, and checked where they stand."""

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
