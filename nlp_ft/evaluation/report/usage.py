"""The code that a card shows, by the kind of model.

A card in a directory names the model by that directory, and says where Python is to run; once pushed, by its name on the Hub.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any

_TEXT, _PAIR = '"a text"', '{"text": "a text", "text_pair": "another text"}'
_OWNER_NAME = "models/OWNER/NAME "  # of a model that is not pushed


def usage(name: str, facts: Mapping[str, Any]) -> str:
    """How to use a model: Python, and HTTP where an inference provider could serve it.

    facts: problem_type, labels, settings, and where known text_pair and plain_peft, as of `model_card.write_card`.
    """
    pair, alone = bool(facts.get("text_pair")), facts["settings"]["lora"]["save_adapter_only"]
    if not alone:
        plain = _pipeline(name, facts["problem_type"], pair)
    else:
        plain = _peft(name, facts["labels"], pair) if facts.get("plain_peft", True) else ""
    code = "\n\n".join([*([plain] if plain else []), own_code(name, pair)])
    http = "" if alone or pair else _HTTP
    only = "" if plain else "\nPlain peft does not load it: nlp_ft changed the base before the adapters were added.\n"
    return f"{place(name)}```python\n{code}\n```\n{only}{http}"


def own_code(name: str, pair: bool) -> str:
    """The two lines that answer one text, or one pair, by nlp_ft."""
    text = '("a text", "another text")' if pair else _TEXT
    return f"import nlp_ft\nnlp_ft.load({json.dumps(name, ensure_ascii=False)}).predict([{text}])"


def place(name: str) -> str:
    """Where the code of a directory's card runs; of no use once the model is on the Hub."""
    return f"Run it in the folder above this one; elsewhere write the path of this folder for {name}.\n\n"


def by_hub_name(text: str, old: str, new: str) -> str:
    """A card's text whose code calls the model by its name on the Hub, not by its directory.

    Only the places where code names a model are changed: a directory may be called like any other word.
    """
    text = text.replace(place(old), "")
    text = text.replace(f"/models/{old} ", f"/models/{new} ").replace(f"/{_OWNER_NAME}", f"/models/{new} ")
    quoted = re.escape(json.dumps(old, ensure_ascii=False))
    text = re.sub(rf"(\bmodel=|\bload\(|\bfrom_pretrained\(){quoted}", lambda found: f'{found[1]}"{new}"', text)
    return re.sub(rf"(--model_name_or_path ){re.escape(old)}(?=\s)", lambda found: found[1] + new, text)


def _pipeline(name: str, problem_type: str, pair: bool) -> str:
    options = ", truncation=True" + (", top_k=None" if problem_type == "multi_label_classification" else "")
    model = json.dumps(name, ensure_ascii=False)
    return (
        "from transformers import pipeline\n"
        f'pipeline("text-classification", model={model})({_PAIR if pair else _TEXT}{options})'
    )


def _peft(name: str, labels: list[str], pair: bool) -> str:
    """Code for adapters alone: peft keeps neither the number of labels nor the pad token."""
    model = json.dumps(name, ensure_ascii=False)
    texts = '["a text", "a longer text"]' + (', ["another text", "one more"]' if pair else "")
    return f"""from peft import AutoPeftModelForSequenceClassification
from transformers import AutoTokenizer
tokenizer = AutoTokenizer.from_pretrained({model})
model = AutoPeftModelForSequenceClassification.from_pretrained({model}, num_labels={max(len(labels), 1)}).eval()
model.config.pad_token_id = tokenizer.pad_token_id
model(**tokenizer({texts}, padding=True, truncation=True, return_tensors="pt")).logits"""


_HTTP = f"""
Over HTTP, once the model is on the Hub and served there by an inference provider:

```sh
curl https://router.huggingface.co/hf-inference/{_OWNER_NAME}-H "Authorization: Bearer $HF_TOKEN" \\
  -H "Content-Type: application/json" -d '{{"inputs": "a text"}}'
```
"""
