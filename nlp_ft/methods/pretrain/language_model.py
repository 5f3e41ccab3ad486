"""Load checkpoints as language models, and save them with their whole body.

Every other class of transformers loads the saved directory, too.
"""

from __future__ import annotations

import copy
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from accelerate.utils import extract_model_from_parallel
from torch import Tensor, nn
from transformers import (
    MODEL_FOR_CAUSAL_LM_MAPPING,
    MODEL_FOR_MASKED_LM_MAPPING,
    AutoConfig,
    AutoModel,
    AutoModelForCausalLM,
    AutoModelForMaskedLM,
    GgufConfig,
    PreTrainedConfig,
    PreTrainedModel,
    PreTrainedTokenizerBase,
    set_seed,
)

from nlp_ft.config import ModelArguments
from nlp_ft.errors import ModelError, TrainingError
from nlp_ft.models.checkpoint import (
    LoadingInfo,
    as_model_error,
    check_directory,
    check_weights,
    grow_embeddings,
    quiet,
    unset_quantization,
)
from nlp_ft.models.classifier import set_dropout
from nlp_ft.models.lora import merged
from nlp_ft.models.pooling import POOLING_KEY
from nlp_ft.models.pooling_file import POOLING_FILE, HubOptions, read_pooling_file, write_pooling_file
from nlp_ft.models.tokenizer import load_tokenizer
from nlp_ft.training.save import save_verified

_ROWS_COMPARED, _TOKENS_COMPARED = 8, 64


@dataclass
class Body:
    """A checkpoint as a language model.

    causal: it predicts the next token, else masked ones. kept: weights of the checkpoint's body that a language model does not
    use (BERT's pooler), by name. new_head: names of the weights of its head that started at random. restored: the checkpoint's
    values of the settings that training changes in the configuration. pooling: its 1_Pooling/config.json, if it had one.
    """

    model: PreTrainedModel
    tokenizer: PreTrainedTokenizerBase
    causal: bool
    kept: dict[str, Tensor]
    new_head: list[str]
    restored: dict[str, object]
    pooling: dict[str, object] | None
    notes: list[str] = field(default_factory=list)


def open_body(args: ModelArguments, seed: int) -> Body:
    """Load a checkpoint in float32, ready to be trained.

    Weights that its head lacks start at random, by the seed.

    Raises: ModelError for a checkpoint that is no language model's, or whose body is not whole.
    """
    name, source = args.model_name_or_path, check_directory(args.model_name_or_path, args.gguf_file)
    check_weights(source)
    hub: HubOptions = {"revision": args.model_revision, "cache_dir": args.cache_dir}
    gguf = {"gguf_file": args.gguf_file} if args.gguf_file else {}
    with quiet(), as_model_error(name, "configuration"):
        config_options = {} if args.config_name else gguf
        config = AutoConfig.from_pretrained(
            args.config_name or source, trust_remote_code=False, **config_options, **hub
        )
    tokenizer = load_tokenizer(args)
    causal = _is_causal(name, config)
    restored = _settle_config(config, args.dropout)
    options: dict[str, object] = {"config": config, "attn_implementation": args.attn_implementation, **hub}
    if gguf:
        options |= {**gguf, "quantization_config": GgufConfig(gguf_file=args.gguf_file, dequantize=True)}
    else:
        options |= {"use_safetensors": True, "ignore_mismatched_sizes": True}
    set_seed(seed)
    model, info = _load(AutoModelForCausalLM if causal else AutoModelForMaskedLM, source, name, **options)
    prefix = f"{model.base_model_prefix}."
    new_head = _check(name, model, info, prefix, args.ignore_mismatched_sizes)
    kept = {} if causal else _kept(source, name, model, options)
    if gguf:
        unset_quantization(model)
    grow_embeddings(model, len(tokenizer))
    model.config.pad_token_id = model.config.get_text_config().pad_token_id = tokenizer.pad_token_id
    body = Body(model, tokenizer, causal, kept, new_head, restored, None if gguf else read_pooling_file(source, **hub))
    unused = sorted(key for key in info["unexpected_keys"] if f"{prefix}{key.removeprefix(prefix)}" not in kept)
    body.notes = _notes(body, unused)
    return body


def _is_causal(name: str, config: PreTrainedConfig) -> bool:
    """Whether the architecture predicts next tokens.

    Raises: ModelError if it predicts neither next tokens nor masked ones.
    """
    if config.is_encoder_decoder or config.model_type == "xlnet":
        raise ModelError(f"{name}: a {config.model_type} checkpoint is pre-trained in a way that is not built here.")
    if getattr(config, POOLING_KEY, None) == "mean" and config.model_type != "modernbert":
        raise ModelError(
            f"{name} is a classifier whose last layer pools by mean, so that all its tokens say the same; pre-train the "
            "checkpoint that it was fine-tuned from."
        )
    if type(config) in MODEL_FOR_MASKED_LM_MAPPING and not getattr(config, "is_decoder", False):
        return False
    if type(config) in MODEL_FOR_CAUSAL_LM_MAPPING:
        return True
    raise ModelError(f"{name}: transformers has no language model for a {config.model_type} checkpoint.")


def _settle_config(config: PreTrainedConfig, dropout: float | None) -> dict[str, object]:
    """Set the dropout, switch the cache of past keys off, and remove the labels.

    Returns: the checkpoint's values of the first two, where they changed.
    """
    text = config.get_text_config()
    before = text.to_dict()
    if dropout is not None:
        set_dropout(config, dropout)
    if hasattr(text, "use_cache"):
        text.use_cache = False
    config.num_labels, config.problem_type = 2, None
    return {k: before[k] for k, v in text.to_dict().items() if ("drop" in k or k == "use_cache") and before.get(k) != v}


def _load(
    model_class: type[AutoModel | AutoModelForCausalLM | AutoModelForMaskedLM],
    source: str,
    name: str,
    **options: object,
) -> tuple[PreTrainedModel, LoadingInfo]:
    with quiet(), as_model_error(name, "weights"):
        loaded: Any = model_class.from_pretrained(
            source, dtype=torch.float32, output_loading_info=True, trust_remote_code=False, **options
        )
    return loaded


def _check(name: str, model: PreTrainedModel, info: LoadingInfo, prefix: str, accept: bool) -> list[str]:
    """Check that only weights of the head are new.

    Returns: their names. Raises: ModelError.
    """
    mismatched = sorted(key[0] for key in info["mismatched_keys"])
    if mismatched and not accept:
        raise ModelError(
            f"{name}: the shape of {mismatched[0]} (and {len(mismatched) - 1} more) does not fit its own configuration; "
            "use the right --config_name, or --ignore_mismatched_sizes to start those weights at random."
        )
    missing = sorted(info["missing_keys"])
    if lost := [key for key in missing if key.startswith(prefix)]:
        raise ModelError(
            f"{name} is no {type(model).__name__}: {len(lost)} weights of its body are not in it, such as {lost[0]}."
        )
    return missing


def _kept(source: str, name: str, model: PreTrainedModel, options: dict[str, object]) -> dict[str, Tensor]:
    """Weights of the checkpoint's body that the language model does not use.

    They must not be lost: other classes load them.
    """
    options = {**options, "config": copy.deepcopy(options["config"])}
    body, info = _load(AutoModel, source, name, **options)
    used = {*model.base_model.state_dict(), *info["missing_keys"]}
    return {f"{model.base_model_prefix}.{k}": v.clone() for k, v in body.state_dict().items() if k not in used}


def _notes(body: Body, unused: list[str]) -> list[str]:
    target = "the next token" if body.causal else "masked tokens"
    notes = [f"{type(body.model).__name__}: predicts {target}"]
    if body.new_head:
        notes.append(
            f"head: {len(body.new_head)} weights of the language-model head are not in the checkpoint (such as "
            f"{body.new_head[0]}); they start at random and train, so the first losses are those of a random head"
        )
    if body.kept:
        notes.append(f"kept as they are, for later classifiers: {', '.join(sorted(body.kept))}")
    if unused:
        notes.append(f"left out: {len(unused)} weights that a language model does not use, such as {unused[0]}")
    if body.pooling is not None:
        notes.append(
            f"the checkpoint is a sentence encoder ({POOLING_FILE}, which is carried over): predicting tokens can hurt what "
            "its sentence vectors say; --probe_file measures it"
        )
    return notes


def head_to_train(body: Body) -> list[str]:
    """Names of the head's modules that train in full beside adapters.

    Not those that share a weight with the embeddings, nor an output layer that the checkpoint had.
    """
    model = body.model
    shared = {id(p) for p in model.base_model.parameters()}
    out = model.get_output_embeddings()
    names = []
    for name, module in model.named_modules():
        parameters = list(module.parameters(recurse=False))
        inside = name.startswith(f"{model.base_model_prefix}.")
        leaf = not any(True for _ in module.children())  # a parameter beside layers, as BERT's output bias is, stays
        if not parameters or inside or not leaf or any(id(p) in shared for p in parameters):
            continue
        if module is not out or any(key.startswith(f"{name}.weight") for key in body.new_head):
            names.append(name)
    return names


def save_body(body: Body, trained: nn.Module, directory: Path, texts: list[str]) -> None:
    """Save the model, load it anew from disk and compare.

    Adapters are merged into `trained` in place.

    Raises: TrainingError if a weight is not finite, one is missing on reload, the pooler is not bit for bit the checkpoint's,
    or the logits differ by more than rounding.
    """
    model = extract_model_from_parallel(trained, keep_fp32_wrapper=False)

    def write(stage: Path) -> None:
        plain = merged(model)
        for name, value in body.restored.items():
            setattr(plain.config.get_text_config(), name, value)
        plain.save_pretrained(stage, state_dict={**plain.state_dict(), **body.kept})
        body.tokenizer.save_pretrained(stage)
        write_pooling_file(stage, body.pooling)

    save_verified(
        directory,
        model,
        body.tokenizer,
        write=write,
        load=lambda stage: _load_saved(body, stage),
        outputs=lambda module, tokenizer: _logits(module, tokenizer, texts),
        compared="model's logits",
    )


def _load_saved(body: Body, stage: Path) -> nn.Module:
    model_class = AutoModelForCausalLM if body.causal else AutoModelForMaskedLM
    model, info = _load(model_class, str(stage), str(stage), use_safetensors=True)
    if missing := sorted([*info["missing_keys"], *(key[0] for key in info["mismatched_keys"])]):
        raise TrainingError(f"{stage}: the saved model lacks {missing[0]}; do not use it.")
    if body.kept:
        reloaded, _ = _load(AutoModel, str(stage), str(stage), use_safetensors=True)
        weights = {f"{reloaded.base_model_prefix}.{name}": value for name, value in reloaded.state_dict().items()}
        if lost := [
            name for name, value in body.kept.items() if name not in weights or not torch.equal(weights[name], value)
        ]:
            raise TrainingError(f"{stage}: {lost[0]} is not what the checkpoint held; do not use it.")
    return model


@torch.inference_mode()
def _logits(model: nn.Module, tokenizer: PreTrainedTokenizerBase, texts: list[str]) -> Tensor:
    """Float32 logits (all tokens, vocabulary) of a few short texts, on the CPU.

    Each text is a batch of its own, in evaluation mode.
    """
    training = model.training
    model.eval()
    device = next(model.parameters()).device
    logits = []
    for text in texts[:_ROWS_COMPARED]:
        tokens = tokenizer(text, truncation=True, max_length=_TOKENS_COMPARED, return_tensors="pt")
        logits.append(model(input_ids=tokens["input_ids"].to(device)).logits[0].float().cpu())
    model.train(training)
    return torch.cat(logits)
