"""Tokenizers as classifiers need them: there at all, with a pad token of its own, padded on the side the head can read."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

from transformers import AutoConfig, AutoTokenizer

from nlp_ft.config import ModelArguments
from nlp_ft.errors import ModelError
from nlp_ft.models.checkpoint import check_directory, one_line, quiet

_FILES = (
    "tokenizer.json",
    "tokenizer.model",
    "spiece.model",
    "vocab.txt",
    "vocab.json",
    "sentencepiece.bpe.model",
    "spm.model",
)
_KNOWN_PADS = ("<pad>", "[PAD]", "<|pad|>", "<|finetune_right_pad_id|>", "<|vision_pad|>")
_RARE = "\u1234\U0001f9ff"  # characters that only a tokenizer which spells bytes knows


def load_tokenizer(args: ModelArguments) -> Any:
    """The checkpoint's tokenizer with a pad token of its own, padded on the right (XLNet: on the left).

    A pad token equal to the end-of-text token would make a decoder's head read past a text that ends in it. Decoders are
    padded on the right: position ids are not derived from the mask. XLNet's head reads the last position, whatever it holds.

    Raises: ModelError if there is no tokenizer.
    """
    place = check_directory(args.model_name_or_path, args.gguf_file)
    hub: dict[str, Any] = {"revision": args.model_revision, "cache_dir": args.cache_dir, "trust_remote_code": False}
    gguf = {"gguf_file": args.gguf_file} if args.gguf_file else {}
    kind = "gguf"  # a decoder; reading its configuration takes half a minute, and would say no more
    if args.config_name or not gguf:
        with quiet(), one_line(args.model_name_or_path, "configuration"):
            kind = AutoConfig.from_pretrained(args.config_name or place, **hub).model_type
    name = args.tokenizer_name or args.model_name_or_path
    try:
        tokenizer = open_tokenizer(name, **({} if args.tokenizer_name else gguf), **hub)
    except ModelError as error:
        raise ModelError(f"{str(error).removesuffix('.')}; --tokenizer_name can name another.") from error
    if tokenizer.pad_token is None or tokenizer.pad_token == tokenizer.eos_token:
        tokenizer.pad_token = _distinct_pad(tokenizer)
    set_padding_side(tokenizer, kind)
    return tokenizer


def has_tokenizer(directory: Path) -> bool:
    """Whether a directory holds the files of one."""
    return any((directory / file).is_file() for file in _FILES)


def open_tokenizer(name: str, **options: Any) -> Any:
    """The tokenizer as it was saved; options as AutoTokenizer takes them.

    Raises: ModelError if there is none. AutoTokenizer itself makes an empty one for some directories without its files.
    """
    path = Path(name).expanduser()
    if path.is_dir() and not options.get("gguf_file") and not has_tokenizer(path):
        raise ModelError(f"{name} has no tokenizer (no tokenizer.json or vocabulary in it).")
    with quiet(), one_line(name, "tokenizer"):
        return AutoTokenizer.from_pretrained(str(path) if path.is_dir() else name, **options)


def set_padding_side(tokenizer: Any, model_type: str) -> None:
    """On the right, but for XLNet. By the model's type: the class of a tokenizer does not tell since transformers 5."""
    side = "left" if model_type == "xlnet" else "right"
    tokenizer.padding_side = tokenizer.init_kwargs["padding_side"] = side  # only what is in init_kwargs is saved


def _distinct_pad(tokenizer: Any) -> str:
    """A token the vocabulary has already, if no text can hold it; else a new one, for which the embeddings must grow."""
    vocabulary = tokenizer.get_vocab()
    for token in _KNOWN_PADS:
        if token in vocabulary and token != tokenizer.eos_token:
            return token
    unknown = tokenizer.unk_token
    if unknown in vocabulary and unknown != tokenizer.eos_token:
        met = tokenizer(_RARE, add_special_tokens=False)["input_ids"]
        if tokenizer.unk_token_id not in met:
            return unknown
    tokenizer.add_special_tokens({"pad_token": "<|pad|>"})
    return "<|pad|>"


def save_tokenizer(tokenizer: Any, directory: Path, max_length: int) -> None:
    """Save it as cutting texts at max_length tokens: pipelines and servers cut where it says, which is where training cut."""
    tokenizer = copy.deepcopy(tokenizer)
    tokenizer.model_max_length = max_length
    tokenizer.save_pretrained(directory)
