"""The files of a model's directory that may be pushed.

Everything that is not named here stays on the machine.
"""

from __future__ import annotations

from fnmatch import fnmatchcase
from pathlib import PurePosixPath

_TOKENIZER = (
    *("tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "added_tokens.json", "chat_template.jinja"),
    *("vocab.txt", "vocab.json", "merges.txt", "spiece.model", "sentencepiece.bpe.model", "tokenizer.model"),
)
_WEIGHTS = ("model.safetensors", "model-?????-of-?????.safetensors", "model.safetensors.index.json")
_ADAPTER = ("adapter_config.json", "adapter_model.safetensors")
GRAPH_FILES = (
    *("export.json", "export.txt", "export_quantized.json", "export_quantized.txt"),
    *("*.onnx", "*.onnx_data", "*.onnx.data"),
)
_ONNX = ("config.json", "inference.json", *GRAPH_FILES, *_TOKENIZER)
_RECORDS = ("README.md", "all_results.json", "run.json", "inference.json", "recipe.yaml")

FOLDERS: dict[str, tuple[str, ...]] = {
    "": ("config.json", *_WEIGHTS, *_ADAPTER, *_TOKENIZER, *_RECORDS),
    "adapter": ("config.json", "inference.json", *_ADAPTER, *_TOKENIZER),
    "onnx": _ONNX,
    "onnx-int8": _ONNX,  # where int8 graphs were written once
    ".eval_results": ("*.yaml",),
}
WEIGHT_FILES = (*_WEIGHTS, "adapter_model.safetensors")  # a push needs at least one of them
VOCABULARIES = (
    "tokenizer.json",
    "vocab.json",
    "vocab.txt",
    "merges.txt",
    "added_tokens.json",
)  # never rewritten: a token may look like a path


def is_allowed(path: str) -> bool:
    """Whether a path inside a model's directory, written with `/`, is on the list."""
    parts = PurePosixPath(path)
    folder = str(parts.parent) if len(parts.parts) > 1 else ""
    return any(fnmatchcase(parts.name, pattern) for pattern in FOLDERS.get(folder, ()))
