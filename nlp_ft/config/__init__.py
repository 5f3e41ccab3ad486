"""Arguments that every method shares, checked where they are declared.

They are named as in run_classification.py, and for LoRA as in TRL.
"""

from nlp_ft.config.augmentation import AugmentArguments
from nlp_ft.config.data import DataArguments, LongTextArguments
from nlp_ft.config.model import LoraArguments, ModelArguments
from nlp_ft.config.training import FitArguments, FreezeArguments, HubArguments

PROBLEM_TYPES = ("single_label_classification", "multi_label_classification", "regression")

GROUPS = {  # of the flags that methods share
    "model": ModelArguments,
    "data": DataArguments,
    "long_texts": LongTextArguments,
    "augment": AugmentArguments,
    "lora": LoraArguments,
    "freeze": FreezeArguments,
    "fit": FitArguments,
    "hub": HubArguments,
}

__all__ = [
    "GROUPS",
    "PROBLEM_TYPES",
    "AugmentArguments",
    "DataArguments",
    "FitArguments",
    "FreezeArguments",
    "HubArguments",
    "LongTextArguments",
    "LoraArguments",
    "ModelArguments",
    "arguments_of",
]


def arguments_of(method: type | None = None) -> tuple[type, ...]:
    """Return the argument classes of a method: the shared groups, then its own class.

    method: the class, None where there is none; groups that it declares as `unsupported` are left out.
    """
    unsupported = getattr(method, "unsupported", {})
    shared = tuple(group for group in GROUPS.values() if group not in unsupported)
    return shared if method is None else (*shared, method)
