"""Columns of predictions in a table, fixed before the first row is predicted.

They depend on the model and the options alone.
"""

from __future__ import annotations

import base64
import json
import math
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import pyarrow as pa

if TYPE_CHECKING:
    from nlp_ft.inference.prediction import Prediction

_MULTI, _REGRESSION = "multi_label_classification", "regression"


@dataclass(frozen=True)
class PredictionColumn:
    """One column: its name, Arrow type, value of a row, and number format in CSV."""

    name: str
    kind: pa.DataType
    value: Callable[[Prediction], object]
    number_format: str = ".6f"

    def cell(self, prediction: Prediction) -> str:
        """The value as CSV has it.

        Empty where there is none; several labels are joined by `;`.
        """
        value = self.value(prediction)
        if value is None:
            return ""
        if isinstance(value, list):
            return ";".join(value)
        return format(value, self.number_format) if isinstance(value, float) else str(value)


def prediction_columns(
    labels: Sequence[str], problem_type: str, options: Mapping[str, object], taken: Collection[str]
) -> list[PredictionColumn]:
    """Columns `prediction` and `score_<label>`, and by option logits and windows.

    `logit_<label>` is for `return_logits`, `windows` for `long_documents`. Every name gets a `_` more where one of them is
    taken. Scores have six decimals, the numbers of a regression six digits, in every format. A prediction that was withheld
    and a score that is not among the `top_k` are null.
    """
    kinds = {_MULTI: pa.list_(pa.string()), _REGRESSION: pa.float64()}
    columns = [PredictionColumn("prediction", kinds.get(problem_type, pa.string()), _label, ".6g")]
    columns += [PredictionColumn(f"score_{label}", pa.float64(), _score(label)) for label in labels]
    if options.get("return_logits"):
        names = labels or ["value"]
        columns += [PredictionColumn(f"logit_{name}", pa.float64(), _logit(index)) for index, name in enumerate(names)]
    if options.get("long_documents") == "window":
        columns.append(PredictionColumn("windows", pa.int64(), lambda prediction: prediction.windows))
    while {column.name for column in columns} & set(taken):
        columns = [replace(column, name=f"{column.name}_") for column in columns]
    return columns


def _label(prediction: Prediction) -> object:
    return float(f"{prediction.label:.6g}") if isinstance(prediction.label, float) else prediction.label


def _score(label: str) -> Callable[[Prediction], float | None]:
    return lambda prediction: round(prediction.scores[label], 6) if label in prediction.scores else None


def _logit(index: int) -> Callable[[Prediction], float | None]:
    return lambda prediction: None if prediction.logits is None else round(float(prediction.logits[index]), 6)


def as_json(value: object) -> str:
    """Serialise a value as JSON.

    Dates and decimals become strings, bytes base64, and numbers that are not finite null.
    """
    if isinstance(value, float) and not math.isfinite(value):
        return "null"
    return json.dumps(value, ensure_ascii=False, default=_as_text)


def _as_text(value: object) -> str:
    return base64.b64encode(value).decode() if isinstance(value, bytes) else str(value)


def as_cell(value: object) -> str:
    """Convert a value to a CSV cell.

    Strings stay as they are, null is empty, anything else is JSON without its quotes.
    """
    if isinstance(value, str):
        return value
    if value is None:
        return ""
    return as_json(value) if isinstance(value, bool | int | float | list | dict) else _as_text(value)
