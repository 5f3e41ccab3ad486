"""Checkpoints: tokenizer, classifier with its own labels, dropout, pad token, LoRA. The only file that imports peft."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import torch
import transformers
from peft import LoraConfig, PeftModel, TaskType, get_peft_model
from torch import nn
from transformers import AutoConfig, AutoModelForSequenceClassification, AutoTokenizer, PreTrainedModel
from transformers.utils import logging as transformers_logging

from nlp_ft.config import LoraArguments, ModelArguments
from nlp_ft.errors import ConfigError, ModelError
from nlp_ft.heads import final_linear, head_modules

# Every name under which a stock configuration holds a dropout probability.
_DROPOUTS = [
    "hidden_dropout_prob",
    "attention_probs_dropout_prob",
    "classifier_dropout",
    "pooler_dropout",
    "dropout",
    "attention_dropout",
    "seq_classif_dropout",
    "resid_pdrop",
    "embd_pdrop",
    "attn_pdrop",
    "summary_last_dropout",
    "embedding_dropout",
    "mlp_dropout",
    "hidden_dropout",
    "activation_dropout",
    "summary_first_dropout",
]
_KNOWN_PADS = ("<pad>", "[PAD]", "<|pad|>", "<|finetune_right_pad_id|>", "<|vision_pad|>")
_NO_LIMIT = 100_000  # tokenizers without a limit of their own say 1e30
_DEFAULT_LENGTH = 512


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Silence transformers' load report and bars: what matters in them is checked here, and said or raised."""
    level, bars = transformers_logging.get_verbosity(), transformers_logging.is_progress_bar_enabled()
    transformers_logging.set_verbosity_error()
    transformers_logging.disable_progress_bar()
    try:
        yield
    finally:
        transformers_logging.set_verbosity(level)
        if bars:
            transformers_logging.enable_progress_bar()


def check_directory(name: str, gguf_file: str | None = None) -> None:
    """Refuse a local path that cannot be a checkpoint, before anything asks the Hub for it. Raises: ModelError."""
    path = Path(name).expanduser()
    if path.is_dir():
        wanted = gguf_file or "config.json"
        if not (path / wanted).is_file():
            held = ", ".join(sorted(p.name for p in path.iterdir())[:6]) or "nothing"
            raise ModelError(f"{name} is no checkpoint: it has no {wanted}; it holds {held}.")
    elif path.is_file():
        raise ModelError(f"{name} is a file; wanted a checkpoint directory or a name on the Hub.")
    elif path.is_absolute() or name.startswith((".", "~")) or name.count("/") > 1:
        raise ModelError(f"{name}: no such directory, and no name on the Hub either (those are owner/name).")


@contextlib.contextmanager
def one_line(name: str, what: str) -> Iterator[None]:
    """Turn what transformers raises for an unusable checkpoint into one ModelError line."""
    try:
        yield
    except (OSError, ValueError, RuntimeError, KeyError, ImportError) as error:
        if isinstance(error, ModelError):
            raise
        reason = " ".join(str(error).split())
        raise ModelError(f"{name}: cannot load its {what}: {reason[:400]}") from error


def _hub_options(args: ModelArguments) -> dict[str, Any]:
    return {"revision": args.model_revision, "cache_dir": args.cache_dir, "trust_remote_code": False}


def load_tokenizer(args: ModelArguments) -> Any:
    """The checkpoint's tokenizer with a pad token of its own, decoders padded on the right.

    A pad token equal to the end-of-text token would make a decoder's head read past a text that ends in it. Decoders are
    padded on the right: position ids are not derived from the mask. XLNet keeps its left padding: it reads the last token.

    Raises: ModelError if there is no tokenizer.
    """
    name = args.tokenizer_name or args.model_name_or_path
    check_directory(name, args.gguf_file)
    _check_tokenizer_files(name, args)
    with quiet(), one_line(name, "tokenizer"):
        tokenizer = AutoTokenizer.from_pretrained(name, gguf_file=args.gguf_file, **_hub_options(args))
    if tokenizer.pad_token is None or tokenizer.pad_token == tokenizer.eos_token:
        tokenizer.pad_token = _distinct_pad(tokenizer)
    if "xlnet" not in type(tokenizer).__name__.lower():
        tokenizer.padding_side = "right"
    return tokenizer


def _check_tokenizer_files(name: str, args: ModelArguments) -> None:
    """AutoTokenizer makes an empty tokenizer for some directories that hold none: look for the files first."""
    path = Path(name).expanduser()
    files = (
        "tokenizer.json",
        "tokenizer.model",
        "spiece.model",
        "vocab.txt",
        "vocab.json",
        "sentencepiece.bpe.model",
        "spm.model",
    )
    if path.is_dir() and not args.gguf_file and not any((path / file).is_file() for file in files):
        raise ModelError(f"{name} has no tokenizer (no tokenizer.json or vocabulary in it); give --tokenizer_name.")


def _distinct_pad(tokenizer: Any) -> str:
    vocabulary = tokenizer.get_vocab()
    for token in (*_KNOWN_PADS, tokenizer.unk_token):
        if token in vocabulary and token != tokenizer.eos_token:
            return token
    tokenizer.add_special_tokens({"pad_token": "<|pad|>"})
    return "<|pad|>"


def load_classifier(
    args: ModelArguments, tokenizer: Any, problem_type: str, labels: Sequence[str]
) -> tuple[PreTrainedModel, list[str], bool]:
    """The checkpoint as a float32 classifier with these labels (an empty list: regression, one output).

    Returns the model, what there is to say about it, and whether its head is a trained one that fits these labels (its rows
    are then put in the order of `labels`); any other head is initialised anew, even where its size would fit.

    Raises: ModelError if encoder weights are missing or do not fit; ConfigError for a dropout it cannot have.
    """
    name = args.model_name_or_path
    check_directory(name, args.gguf_file)
    with quiet(), one_line(name, "configuration"):
        source = AutoConfig.from_pretrained(args.config_name or name, **_gguf(args), **_hub_options(args))
        config = AutoConfig.from_pretrained(args.config_name or name, **_gguf(args), **_hub_options(args))
    config.num_labels = max(len(labels), 1)
    if labels:
        config.id2label = dict(enumerate(labels))
        config.label2id = {label: i for i, label in enumerate(labels)}
    config.problem_type = problem_type
    if args.dropout is not None:
        _set_dropout(config, args.dropout)
    with quiet(), one_line(name, "weights"):
        model, info = AutoModelForSequenceClassification.from_pretrained(
            name,
            config=config,
            dtype=torch.float32,
            attn_implementation=args.attn_implementation,
            ignore_mismatched_sizes=True,
            output_loading_info=True,
            use_safetensors=None if args.gguf_file else True,
            **_gguf(args),
            **_hub_options(args),
        )
    _check_loaded(name, model, info, args.ignore_mismatched_sizes)
    if hasattr(model.config, "quantization_config"):
        del model.config.quantization_config  # a GGUF checkpoint's, which stands for weights that are float32 now
    if len(tokenizer) > model.get_input_embeddings().num_embeddings:
        with quiet():
            model.resize_token_embeddings(len(tokenizer))
    _set_pad(model, tokenizer.pad_token_id)
    notes, kept = _settle_head(model, source, info, problem_type, labels)
    return model, notes, kept


def _gguf(args: ModelArguments) -> dict[str, Any]:
    return {"gguf_file": args.gguf_file} if args.gguf_file else {}


def _set_pad(model: PreTrainedModel, pad_token_id: int | None) -> None:
    """Pooling in decoders goes by config.pad_token_id: it must be the tokenizer's."""
    model.config.pad_token_id = pad_token_id


def _set_dropout(config: Any, value: float) -> None:
    names = [name for name in _DROPOUTS if isinstance(getattr(config, name, None), int | float)]
    if not names:
        raise ConfigError(f"--dropout: a {config.model_type} checkpoint has no dropout to set.")
    for name in (*names, *(("classifier_dropout",) if hasattr(config, "classifier_dropout") else ())):
        setattr(config, name, value)


def _check_loaded(name: str, model: PreTrainedModel, info: dict[str, Any], accept: bool) -> None:
    """Only the head may be new. A head that is silently random, or an encoder that is, would train to nonsense."""
    body = model.base_model_prefix + "."
    mismatched = [key[0] for key in info["mismatched_keys"] if key[0].startswith(body)]
    if mismatched and not accept:
        raise ModelError(
            f"{name}: the shape of {mismatched[0]} (and {len(mismatched) - 1} more) does not fit its own configuration; "
            "use the right --config_name, or --ignore_mismatched_sizes to start those weights at random."
        )
    missing = [key for key in info["missing_keys"] if key.startswith(body) and ".pooler." not in key]
    if missing:
        raise ModelError(
            f"{name} is no {type(model).__name__}: {len(missing)} weights of the encoder are not in it, "
            f"such as {sorted(missing)[0]}."
        )
    if info["error_msgs"]:
        raise ModelError(f"{name}: {info['error_msgs'][0]}")


def _settle_head(
    model: PreTrainedModel, source: Any, info: dict[str, Any], problem_type: str, labels: Sequence[str]
) -> tuple[list[str], bool]:
    """Keep a trained head whose labels are the same, in our order; start any other one anew, and say so."""
    linear_name, linear = final_linear(model)
    fresh = {key.rpartition(".")[0] for key in info["missing_keys"]}
    fresh |= {key[0].rpartition(".")[0] for key in info["mismatched_keys"]}
    old = [source.id2label[i] for i in range(source.num_labels)]
    same_kind = source.problem_type in (None, problem_type)
    if linear_name in fresh:
        if any(key[0].startswith(linear_name) for key in info["mismatched_keys"]):
            return [
                f"head: started anew; the checkpoint's had {len(old)} outputs, this problem {max(len(labels), 1)}"
            ], False
        return [], False
    if problem_type == "regression" and source.num_labels == 1 and same_kind:
        return ["head: the checkpoint's own regression head goes on training"], True
    if labels and set(old) == set(labels) and same_kind:
        order = torch.tensor([old.index(label) for label in labels])
        with torch.no_grad():
            linear.weight.copy_(linear.weight[order].clone())
            if linear.bias is not None:
                linear.bias.copy_(linear.bias[order].clone())
        return ["head: the checkpoint's own goes on training; its labels are these"], True
    with torch.no_grad():
        nn.init.normal_(linear.weight, std=getattr(model.config, "initializer_range", 0.02))
        if linear.bias is not None:
            linear.bias.zero_()
    return [f"head: started anew; the checkpoint's labels are others ({', '.join(map(str, old[:5]))})"], False


def token_limit(model: PreTrainedModel, tokenizer: Any, asked: int | None) -> int:
    """Tokens a text is cut after: what was asked, else what the model holds, 512 at most.

    Raises: ConfigError if more is asked than the model has positions for.
    """
    holds = [tokenizer.model_max_length] if tokenizer.model_max_length < _NO_LIMIT else []
    for name, module in model.named_modules():
        if name.endswith("position_embeddings") and isinstance(module, nn.Embedding):
            offset = 0 if module.padding_idx is None else module.padding_idx + 1  # RoBERTa counts from there
            holds.append(module.num_embeddings - offset)
    positions = getattr(model.config, "max_position_embeddings", None)
    if isinstance(positions, int) and positions > 0:
        holds.append(positions)
    limit = min(holds, default=_DEFAULT_LENGTH)
    if asked is not None and asked > limit:
        raise ConfigError(f"--max_seq_length {asked}: this checkpoint holds {limit} tokens.")
    return asked or min(limit, _DEFAULT_LENGTH)


def add_lora(model: PreTrainedModel, args: LoraArguments) -> PeftModel:
    """Adapters on the encoder; every module of the head trains in full and is saved.

    peft by itself saves modules named `classifier` or `score` only: the pooler of DeBERTa-v2, the dense layer of ModernBERT's
    head or XLNet's summary would stay random, frozen and unsaved.

    Raises: ConfigError if no layer matches --lora_target_modules.
    """
    targets: Any = args.lora_target_modules
    config = LoraConfig(
        task_type=TaskType.SEQ_CLS,
        r=args.lora_r,
        lora_alpha=args.lora_alpha,
        lora_dropout=args.lora_dropout,
        target_modules="all-linear" if targets == ["all-linear"] else targets,
        modules_to_save=head_modules(model),
        use_dora=args.use_dora,
        use_rslora=args.use_rslora,
    )
    try:
        wrapped = get_peft_model(model, config)
    except ValueError as error:
        reason = " ".join(str(error).split())
        raise ConfigError(f"--lora_target_modules {' '.join(args.lora_target_modules)}: {reason}") from None
    assert isinstance(wrapped, PeftModel)
    return wrapped


def load_adapter_directory(directory: Path) -> PreTrainedModel:
    """A directory saved with --save_adapter_only as a merged classifier: base from adapter_config.json, labels from its own.

    Raises: ModelError if the base cannot be loaded, or the adapter does not hold the whole head.
    """
    adapter = json.loads((directory / "adapter_config.json").read_text(encoding="utf-8"))
    name = adapter.get("base_model_name_or_path") or ""
    check_directory(name)
    config = AutoConfig.from_pretrained(directory, trust_remote_code=False)
    vocabulary = config.vocab_size
    with quiet(), one_line(name, "weights"):
        own = AutoConfig.from_pretrained(name, trust_remote_code=False)
        config.vocab_size = own.vocab_size
        base, info = AutoModelForSequenceClassification.from_pretrained(
            name,
            config=config,
            dtype=torch.float32,
            ignore_mismatched_sizes=True,
            output_loading_info=True,
            use_safetensors=True,
            trust_remote_code=False,
        )
        if vocabulary != own.vocab_size:
            base.resize_token_embeddings(vocabulary)
        model = PeftModel.from_pretrained(base, str(directory))
    saved = set(adapter.get("modules_to_save") or ())
    new = [key for key in info["missing_keys"] if not saved & set(key.split("."))]
    if new:
        raise ModelError(f"{directory}: neither it nor its base {name} holds {new[0]}; the head would be random.")
    return merged(model)


def merged(model: nn.Module) -> PreTrainedModel:
    """The plain classifier: adapters added into the weights they adapt, the trained head in its place."""
    plain = model.merge_and_unload() if isinstance(model, PeftModel) else model
    assert isinstance(plain, PreTrainedModel)
    return plain


def trainable_share(model: nn.Module) -> tuple[int, int]:
    """(trained parameters, all parameters)."""
    sizes = [(p.numel(), p.requires_grad) for p in model.parameters()]
    return sum(n for n, trains in sizes if trains), sum(n for n, _ in sizes)


def version_line() -> str:
    """What loads and trains: for the top of a report."""
    return f"transformers {transformers.__version__}, torch {torch.__version__}"
