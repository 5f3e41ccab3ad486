"""Tokenizers for classifiers: loaded, with a distinct pad token and padding side."""

from __future__ import annotations

import copy
from pathlib import Path

from transformers import AutoConfig, AutoTokenizer, PreTrainedTokenizerBase, PreTrainedTokenizerFast

from nlp_ft.config import ModelArguments
from nlp_ft.errors import ModelError
from nlp_ft.models.checkpoint import as_model_error, check_directory, quiet

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
_RARE_TEXT = "\u1234\U0001f9ff"  # rare characters: unknown to every tokenizer without byte fallback


def load_tokenizer(args: ModelArguments) -> PreTrainedTokenizerBase:
    """Load the checkpoint's tokenizer, with a pad token that is not the end token.

    A pad token equal to the end-of-text token would make a decoder's head read past a text that ends in it. Padding is on the
    right, also for decoders: position ids are not derived from the mask. XLNet pads on the left: its head reads the last
    position, whatever it holds.

    Raises: ModelError if there is no tokenizer.
    """
    directory = check_directory(args.model_name_or_path, args.gguf_file)
    hub: dict[str, object] = {"revision": args.model_revision, "cache_dir": args.cache_dir, "trust_remote_code": False}
    gguf = {"gguf_file": args.gguf_file} if args.gguf_file else {}
    model_type, two_stacks = "gguf", False  # a decoder; reading the configuration of a GGUF file takes half a minute
    if args.config_name or not gguf:
        with quiet(), as_model_error(args.model_name_or_path, "configuration"):
            config = AutoConfig.from_pretrained(args.config_name or directory, **hub)
            model_type, two_stacks = config.model_type, config.is_encoder_decoder
    name = args.tokenizer_name or args.model_name_or_path
    try:
        tokenizer = open_tokenizer(name, **({} if args.tokenizer_name else gguf), **hub)
    except ModelError as error:
        raise ModelError(f"{str(error).removesuffix('.')}; --tokenizer_name can name another.") from error
    if tokenizer.pad_token is None or tokenizer.pad_token == tokenizer.eos_token:
        tokenizer.pad_token = _distinct_pad(tokenizer)
    set_padding_side(tokenizer, model_type)
    if two_stacks:
        read_marks_as_text(tokenizer)
    return tokenizer


def pad_token_id(tokenizer: PreTrainedTokenizerBase) -> int:
    """Id of the pad token. Raises: ModelError if there is none."""
    number = tokenizer.pad_token_id
    if not isinstance(number, int):
        raise ModelError(f"{tokenizer.name_or_path} has no pad token.")
    return number


def has_tokenizer(directory: Path) -> bool:
    """Whether a directory holds a tokenizer's files."""
    return any((directory / file).is_file() for file in _FILES)


def open_tokenizer(name: str, **options: object) -> PreTrainedTokenizerBase:
    """Load a tokenizer as it was saved.

    AutoTokenizer makes an empty one for some directories without a tokenizer's files; here that is an error.

    options: as AutoTokenizer takes them. Raises: ModelError if there is none.
    """
    path = Path(name).expanduser()
    if path.is_dir() and not options.get("gguf_file") and not has_tokenizer(path):
        raise ModelError(f"{name} has no tokenizer (no tokenizer.json or vocabulary in it).")
    with quiet(), as_model_error(name, "tokenizer"):
        return AutoTokenizer.from_pretrained(str(path) if path.is_dir() else name, **options)


def set_padding_side(tokenizer: PreTrainedTokenizerBase, model_type: str) -> None:
    """Pad on the right, XLNet on the left.

    The model's type decides: since transformers 5 a tokenizer's class does not tell the family.
    """
    side = "left" if model_type == "xlnet" else "right"
    tokenizer.padding_side = tokenizer.init_kwargs["padding_side"] = side  # only what is in init_kwargs is saved


def read_marks_as_text(tokenizer: PreTrainedTokenizerBase) -> None:
    """Read a special token that a text contains, such as `</s>`, as the characters it is written with.

    The head of an encoder-decoder reads the end token, and fails in a batch of which one row has another number of them. Saved
    with the tokenizer, so that plain transformers reads alike.
    """
    tokenizer.split_special_tokens = tokenizer.init_kwargs["split_special_tokens"] = True
    if isinstance(tokenizer, PreTrainedTokenizerFast):
        tokenizer.backend_tokenizer.encode_special_tokens = True


def _distinct_pad(tokenizer: PreTrainedTokenizerBase) -> str:
    """Choose a pad token that no text can contain.

    A token of the vocabulary where there is one; else a new one is added, and the embeddings must grow.
    """
    vocabulary = tokenizer.get_vocab()
    for token in _KNOWN_PADS:
        if token in vocabulary and token != tokenizer.eos_token:
            return token
    unknown = tokenizer.unk_token
    if unknown in vocabulary and unknown != tokenizer.eos_token:
        ids = tokenizer(_RARE_TEXT, add_special_tokens=False)["input_ids"]
        if tokenizer.unk_token_id not in ids:
            return unknown
    tokenizer.add_special_tokens({"pad_token": "<|pad|>"})
    return "<|pad|>"


def save_tokenizer(tokenizer: PreTrainedTokenizerBase, directory: Path, max_length: int) -> None:
    """Save a tokenizer with `model_max_length` set to max_length tokens.

    Pipelines and servers truncate at `model_max_length`, and so truncate as training did.
    """
    tokenizer = copy.deepcopy(tokenizer)
    tokenizer.model_max_length = max_length
    tokenizer.save_pretrained(directory)
