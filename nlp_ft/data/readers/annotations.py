"""Exports of annotation programs: spaCy, Prodigy, Label Studio and doccano, mapped to texts and labels.

A row that was rejected, skipped or not annotated keeps its text and is marked, so that it can be predicted and is not trained
on.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence

from nlp_ft.data.readers.rejected import STATUS
from nlp_ft.data.text import counted
from nlp_ft.errors import DataError

Rows = Sequence[Mapping[str, object]]
Mapped = tuple[list[dict[str, object]], list[str]]  # rows, and notes
Export = Callable[[str, Rows], Mapped]

_CHOICES = {"choices": "choices", "taxonomy": "taxonomy", "rating": "rating", "number": "number"}  # of a result's value
_HASHES = ("_input_hash", "_task_hash", "_session_id", "_annotator_id", "_view_id", "_timestamp", "options", "config")
_MIN_COLUMNS = ("id", "annotator", "annotation_id", "created_at", "updated_at", "lead_time")


def find_export(rows: Rows) -> Export | None:
    """The mapping of an export that these first rows are of; None for ordinary rows."""
    if not rows:
        return None
    if any(isinstance(row.get("cats"), dict) for row in rows) and all("text" in row for row in rows):
        return _spacy
    if all("text" in row and isinstance(row.get("accept"), list) for row in rows):
        return _prodigy_choices
    if all(isinstance(row.get("data"), dict) and _annotations(row) is not None for row in rows):
        return _label_studio
    if any(_is_choice(cell) for row in rows for cell in row.values()):
        return _label_studio_min
    if all("text" in row and "label" not in row and _has_label_ids(row) for row in rows):
        return _doccano_ids
    return None


def _spacy(source: str, rows: Rows) -> Mapped:
    """{"text", "cats": {"A": 1.0, "B": 0.0}}."""
    positives: list[list[str] | None] = []
    names: dict[str, None] = {}
    for row, cells in enumerate(rows, start=1):
        cats = cells.get("cats")
        if not isinstance(cats, dict) or not cats or _refused(cells):
            positives.append(None)
            continue
        for name, value in cats.items():
            if not isinstance(value, bool | int | float) or value not in (0, 1):
                raise DataError(f"{source}, row {row}: cats[{name!r}] is {value!r}; wanted 0 or 1.")
        names.update(dict.fromkeys(cats))
        positives.append([name for name, value in cats.items() if value])
    labels: list[object]
    if len(names) == 1:
        (name,) = names
        labels = [None if on is None else name if on else f"not {name}" for on in positives]
        how = f'label is "{name}" or "not {name}"'
    else:
        labels, how = _one_or_several(positives)
    mapped = [_with_label(cells, ("cats",), label) for cells, label in zip(rows, labels, strict=True)]
    return mapped, [f"{source}: read as spaCy's cats (1 applies, 0 does not); {how}"]


def _prodigy_choices(source: str, rows: Rows) -> Mapped:
    """{"text", "accept": ["A"], "answer": "accept"}."""
    several = any(_style(row) == "multiple" for row in rows)
    chosen = [None if _refused(row) else _names(row["accept"]) for row in rows]
    if not several:
        chosen = [names or None for names in chosen]
    labels, how = _one_or_several(chosen, several=several)
    mapped = [_with_label(cells, ("accept", *_HASHES), label) for cells, label in zip(rows, labels, strict=True)]
    return mapped, [f"{source}: read as a Prodigy export, its choices (accept) as labels; {how}"]


def _style(row: Mapping[str, object]) -> object:
    config = row.get("config")
    return config.get("choice_style") if isinstance(config, dict) else None


def _label_studio(source: str, rows: Rows) -> Mapped:
    """{"data": {"text": ...}, "annotations": [{"result": [...], "was_cancelled": false}]}."""
    controls = Counter(
        str(result.get("from_name", "label"))
        for row in rows
        for annotation in _annotations(row) or []
        for result in _results(annotation)
        if _value_of(result) is not None
    )
    if not controls:
        raise DataError(
            f"{source} is a Label Studio export without choices or ratings of whole texts, which a text classifier needs."
        )
    settled = [_settled(_annotations(row) or []) for row in rows]
    mapped = [
        {**data, **({} if status == "accepted" else {STATUS: status})}
        for (_, status), row in zip(settled, rows, strict=True)
        if isinstance(data := row["data"], dict)
    ]
    notes = []
    for control in controls:
        name = "label" if len(controls) == 1 and not any("label" in row for row in mapped) else control
        labels, how = _one_or_several(
            [None if values is None else values.get(control, []) for values, _ in settled], keep_empty=True
        )
        for row, label in zip(mapped, labels, strict=True):
            row[name] = label
        notes.append(f"{source}: read as a Label Studio export, {name} out of its {control!r}; {how}")
    return mapped, notes


def _annotations(row: Mapping[str, object]) -> list[dict[str, object]] | None:
    annotations = row.get("annotations", row.get("completions"))
    if not isinstance(annotations, list) or not all(isinstance(each, dict) for each in annotations):
        return None
    return annotations


def _results(annotation: Mapping[str, object]) -> list[dict[str, object]]:
    results = annotation.get("result")
    return [each for each in results if isinstance(each, dict)] if isinstance(results, list) else []


def _value_of(result: Mapping[str, object]) -> list[str] | None:
    """The choices of a result about the whole text; None for one of another kind."""
    value = result.get("value")
    kind = _CHOICES.get(str(result.get("type")))
    if kind is None or not isinstance(value, dict) or kind not in value:
        return None
    return _names(value[kind])


def _settled(annotations: Sequence[Mapping[str, object]]) -> tuple[dict[str, list[str]] | None, str]:
    """Choices by control of the annotation that counts, and its status.

    Ground truth counts first, else what most annotators chose; where they are even, none does.
    """
    kept = [each for each in annotations if not (each.get("was_cancelled") or each.get("skipped"))]
    if not kept:
        return None, "cancelled" if annotations else "not annotated"
    kept = [each for each in kept if not _is_turned_down(each)]
    if not kept:
        return None, "rejected in review"
    kept = [each for each in kept if each.get("ground_truth")] or kept
    values = [
        {str(result.get("from_name", "label")): chosen for result in _results(each) if (chosen := _value_of(result))}
        for each in kept
    ]
    counts = Counter(repr(sorted(value.items())) for value in values)
    (first, most), *rest = counts.most_common(2)
    if rest and rest[0][1] == most:
        return None, "annotators disagree"
    value = next(value for value in values if repr(sorted(value.items())) == first)
    return (value, "accepted") if value else (None, "not annotated")


def _is_turned_down(annotation: Mapping[str, object]) -> bool:
    reviews = annotation.get("reviews")
    last = reviews[-1] if isinstance(reviews, list) and reviews else None
    return isinstance(last, dict) and last.get("accepted") is False


def _label_studio_min(source: str, rows: Rows) -> Mapped:
    """JSON-MIN: {"text", "topic": "food"}, or {"choices": [...]} where there are several."""
    controls = list(dict.fromkeys(name for row in rows for name, cell in row.items() if _is_choice(cell)))
    mapped = [{name: cell for name, cell in row.items() if name not in _MIN_COLUMNS} for row in rows]
    notes = []
    for control in controls:
        labels, how = _one_or_several([_names(row.get(control)) for row in rows], several=True)
        for row, label in zip(mapped, labels, strict=True):
            row[control] = label
        notes.append(f"{source}: read as Label Studio's JSON-MIN, {control!r} as labels; {how}")
        if len(controls) == 1 and "label" not in mapped[0]:
            mapped = [{("label" if name == control else name): cell for name, cell in row.items()} for row in mapped]
    return mapped, notes


def _is_choice(cell: object) -> bool:
    return isinstance(cell, dict) and list(cell) in (["choices"], ["taxonomy"])


def _has_label_ids(row: Mapping[str, object]) -> bool:
    annotations = _annotations(row)
    return annotations is not None and all(isinstance(each.get("label"), int) for each in annotations)


def _doccano_ids(source: str, rows: Rows) -> Mapped:
    raise DataError(
        f"{source} is an export of doccano with numbers for labels; export it as JSONL, which has their names under label."
    )


def _names(value: object) -> list[str]:
    """Label names out of what an export has in their place."""
    if isinstance(value, dict):
        value = next(iter(value.values()), [])
    if value is None:
        return []
    parts = value if isinstance(value, list) else [value]
    return [" / ".join(map(str, part)) if isinstance(part, list) else str(part) for part in parts]


def _one_or_several(
    chosen: Sequence[list[str] | None], *, several: bool = False, keep_empty: bool = False
) -> tuple[list[object], str]:
    """Labels as names where each row has one, as lists otherwise; None where a row is not annotated.

    several: whether they are lists in any case. keep_empty: whether a row without one does not make them lists.
    """
    counts = [len(names) for names in chosen if names is not None]
    one = all(count == 1 or (keep_empty and count == 0) for count in counts)
    if one and not several:
        return [names[0] if names else None for names in chosen], "each text has one, so label is its name"
    rows = sum(count != 1 for count in counts)
    how = f"{counted(rows, 'text')} {'has' if rows == 1 else 'have'} none or several" if rows else "several may apply"
    return list(chosen), f"{how}, so labels are lists"


def _with_label(cells: Mapping[str, object], left_out: Sequence[str], label: object) -> dict[str, object]:
    row = {name: cell for name, cell in cells.items() if name not in (*left_out, "label")}
    status = _refused(cells) or ("not annotated" if label is None else None)
    return {**row, "label": label, **({STATUS: status} if status else {})}


def _refused(cells: Mapping[str, object]) -> str | None:
    """How an annotator turned a text down, or None."""
    return {"reject": "rejected", "ignore": "ignored"}.get(str(cells.get("answer")))
