"""The columns that answers add to a table: settled by the model and the options before the first row is answered."""

from __future__ import annotations

import base64
import json
import math
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import pyarrow as pa

if TYPE_CHECKING:
    from nlp_ft.inference.prediction import Prediction

_MULTI, _REGRESSION = "multi_label_classification", "regression"


@dataclass(frozen=True)
class PredictionColumn:
    """One column: its name, its Arrow type, a row's value, and how CSV writes its numbers."""

    name: str
    kind: pa.DataType
    value: Callable[[Prediction], Any]
    written: str = ".6f"

    def cell(self, one: Prediction) -> str:
        """The value as CSV has it; empty where there is none, several labels joined by `;`."""
        value = self.value(one)
        if value is None:
            return ""
        if isinstance(value, list):
            return ";".join(value)
        return format(value, self.written) if isinstance(value, float) else str(value)


def prediction_columns(
    labels: Sequence[str], problem_type: str, options: Mapping[str, Any], taken: Collection[str]
) -> list[PredictionColumn]:
    """`prediction`, a `score_<label>` a class; `logit_<label>` and `windows` where `return_logits` and `long_documents` ask.

    Every name gets a `_` more where one of them is taken. Scores have six decimals, the numbers of a regression six digits,
    in every format. A prediction that was withheld and a score that is not among the `top_k` are null.
    """
    kinds = {_MULTI: pa.list_(pa.string()), _REGRESSION: pa.float64()}
    columns = [PredictionColumn("prediction", kinds.get(problem_type, pa.string()), _label, ".6g")]
    columns += [PredictionColumn(f"score_{label}", pa.float64(), _score(label)) for label in labels]
    if options.get("return_logits"):
        names = labels or ["value"]
        columns += [PredictionColumn(f"logit_{name}", pa.float64(), _logit(at)) for at, name in enumerate(names)]
    if options.get("long_documents") == "window":
        columns.append(PredictionColumn("windows", pa.int64(), lambda one: one.windows))
    while {column.name for column in columns} & set(taken):
        columns = [replace(column, name=f"{column.name}_") for column in columns]
    return columns


def _label(one: Prediction) -> Any:
    return float(f"{one.label:.6g}") if isinstance(one.label, float) else one.label


def _score(label: str) -> Callable[[Prediction], float | None]:
    return lambda one: round(one.scores[label], 6) if label in one.scores else None


def _logit(at: int) -> Callable[[Prediction], float | None]:
    return lambda one: None if one.logits is None else round(float(one.logits[at]), 6)


def as_json(value: Any) -> str:
    """A value as JSON: dates and decimals as strings, bytes as base64, null for a number that is none."""
    if isinstance(value, float) and not math.isfinite(value):
        return "null"
    return json.dumps(value, ensure_ascii=False, default=_as_text)


def _as_text(value: Any) -> str:
    return base64.b64encode(value).decode() if isinstance(value, bytes) else str(value)


def as_cell(value: Any) -> str:
    """A value as CSV has it: strings as they are, empty for null, anything else as JSON without its quotes."""
    if isinstance(value, str):
        return value
    if value is None:
        return ""
    return as_json(value) if isinstance(value, bool | int | float | list | dict) else _as_text(value)
