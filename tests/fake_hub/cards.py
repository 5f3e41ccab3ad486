"""What the Hub reads from a README: its metadata, whether they are valid, and what follows from them."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any

import yaml

_NAME = re.compile(r"[\w.-]+(/[\w.-]+)?")
_LISTS = ("tags", "datasets", "language", "metrics")
_HEADS = {"SequenceClassification": "text-classification", "MaskedLM": "fill-mask", "CausalLM": "text-generation"}


def metadata(readme: str) -> Any:
    """The YAML between the first two `---`; None without; raises yaml.YAMLError."""
    found = re.match(r"\s*---\r?\n(.*?)\r?\n---", readme, re.DOTALL)
    return yaml.safe_load(found.group(1)) if found else None


def mistakes(readme: str) -> list[str]:
    """What is wrong with a README's metadata, as the Hub says it."""
    try:
        card = metadata(readme)
    except yaml.YAMLError as error:
        return [f"YAML Metadata Error: {error}"]
    if card is None:
        return []
    if not isinstance(card, dict):
        return ["YAML Metadata Error: the metadata must be a mapping"]
    found = [f'"{key}" must be a string' for key in ("pipeline_tag", "library_name") if not _is_text(card.get(key, ""))]
    for key in _LISTS:
        value = card.get(key, [])
        if not _is_text(value) and not (isinstance(value, list) and all(map(_is_text, value))):
            found.append(f'"{key}" must be a string or a list of strings')
    for key in ("base_model", "datasets"):
        names = [card[key]] if _is_text(card.get(key)) else card.get(key) or []
        found += [f'"{key}" with value "{name}" is not valid' for name in names if not _NAME.fullmatch(str(name))]
    return found + _index_mistakes(card.get("model-index", []))


def _index_mistakes(index: Any) -> list[str]:
    if not isinstance(index, list):
        return ['"model-index" must be an array']
    found = []
    for i, model in enumerate(index):
        for j, result in enumerate(model.get("results", [])):
            at = f"model-index[{i}].results[{j}]"
            for path in (("task", "type"), ("dataset", "name"), ("dataset", "type")):
                if not _is_text(result.get(path[0], {}).get(path[1])):
                    found.append(f'"{at}.{".".join(path)}" is required')
            for k, metric in enumerate(result.get("metrics", [])):
                missing = [key for key in ("type", "value") if metric.get(key) is None]
                found += [f'"{at}.metrics[{k}].{key}" is required' for key in missing]
        if not _is_text(model.get("name")):
            found.append(f'"model-index[{i}].name" is required')
    return found


def model_facts(readme: bytes, config: bytes) -> Mapping[str, Any]:
    """pipeline_tag, library_name, tags and cardData of a repository's info, from its README.md and config.json."""
    try:
        card = metadata(readme.decode("utf-8", "replace"))
        settings = json.loads(config or b"{}")
    except (yaml.YAMLError, ValueError):
        card, settings = None, {}
    card = card if isinstance(card, dict) else {}
    heads = settings.get("architectures") or [""]
    inferred = next((tag for head, tag in _HEADS.items() if heads[0].endswith(head)), None)
    facts = {
        "pipeline_tag": card.get("pipeline_tag", inferred),
        "library_name": card.get("library_name", "transformers" if config else None),
        "tags": card.get("tags", []),
        "cardData": json.loads(json.dumps(card, default=str)) or None,
    }
    return {key: value for key, value in facts.items() if value is not None}


def _is_text(value: Any) -> bool:
    return isinstance(value, str)
