"""Tiny random checkpoints of every family, with tokenizers trained on the spot; made like real ones: a body, no classifier."""

from __future__ import annotations

import functools
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers
from transformers import (
    AutoModel,
    BartConfig,
    BertConfig,
    DebertaV2Config,
    DistilBertConfig,
    GPT2Config,
    LlamaConfig,
    ModernBertConfig,
    PreTrainedConfig,
    PreTrainedTokenizerFast,
    Qwen2Config,
    Qwen3Config,
    RobertaConfig,
    T5Config,
    XLNetConfig,
)

from nlp_ft.config import LoraArguments, ModelArguments
from nlp_ft.evaluation.metrics import SINGLE
from nlp_ft.models.classifier import add_lora, load_classifier, load_tokenizer, quiet

TEXTS = [
    "a lovely film with a warm story",
    "the cast is dreadful and the plot is boring",
    "so so",
    "i found the whole ending very clumsy, and the music cold; the director has no idea what this tale was about",
    "Great!",
    "it was quite funny in the first scene and terrible in the last",
]
LABELS = ["angry", "calm", "glad"]
_VOCABULARY = 300
_SIZES = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 48}
_DEBERTA: dict[str, Any] = {
    "max_position_embeddings": 64,
    "relative_attention": True,
    "position_buckets": 16,
    "pos_att_type": ["p2c", "c2p"],
    "norm_rel_ebd": "layer_norm",
    "share_att_key": True,
    "position_biased_input": False,
    "type_vocab_size": 0,
    "pooler_hidden_size": 32,
}


class Family(NamedTuple):
    """How to make the tiny checkpoint of a family."""

    tokenizer: Callable[[], PreTrainedTokenizerFast]
    config: Callable[[Any], PreTrainedConfig]
    decoder: bool = False


def _decoder_start(token_id: int) -> dict[str, Any]:
    """The token a decoder begins with, which the type of T5's configuration does not name."""
    return {"decoder_start_token_id": token_id}


def _wordpiece(token_types: bool = False) -> PreTrainedTokenizerFast:
    special = {
        "pad_token": "[PAD]",
        "unk_token": "[UNK]",
        "cls_token": "[CLS]",
        "sep_token": "[SEP]",
        "mask_token": "[MASK]",
    }
    core = Tokenizer(models.WordPiece(unk_token="[UNK]"))
    core.normalizer = normalizers.BertNormalizer(lowercase=True)
    core.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    core.train_from_iterator(
        TEXTS,
        trainers.WordPieceTrainer(vocab_size=_VOCABULARY, special_tokens=[*special.values()], show_progress=False),
    )
    core.decoder = decoders.WordPiece()
    core.post_processor = _template(core, "[CLS] $A [SEP]", "[CLS] $A [SEP] $B:1 [SEP]:1", ["[CLS]", "[SEP]"])
    inputs = ["input_ids", *(["token_type_ids"] if token_types else []), "attention_mask"]
    return PreTrainedTokenizerFast(tokenizer_object=core, model_max_length=64, model_input_names=inputs, **special)


def _byte_level(
    special: dict[str, str],
    single: str = "$A",
    pair: str = "$A $B",
    inputs: tuple[str, ...] = ("input_ids", "attention_mask"),
) -> PreTrainedTokenizerFast:
    core = Tokenizer(models.BPE())
    core.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    core.decoder = decoders.ByteLevel()
    tokens = list(dict.fromkeys(special.values()))
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    core.train_from_iterator(
        TEXTS,
        trainers.BpeTrainer(
            vocab_size=_VOCABULARY, special_tokens=tokens, initial_alphabet=alphabet, show_progress=False
        ),
    )
    core.post_processor = _template(core, single, pair, tokens)
    return PreTrainedTokenizerFast(tokenizer_object=core, model_input_names=list(inputs), **special)


def _template(core: Tokenizer, single: str, pair: str, tokens: list[str]) -> processors.TemplateProcessing:
    used = [(token, core.token_to_id(token)) for token in tokens if token in single + pair]
    return processors.TemplateProcessing(single=single, pair=pair, special_tokens=used)


def _roberta_tokens() -> PreTrainedTokenizerFast:
    special = {"bos_token": "<s>", "pad_token": "<pad>", "eos_token": "</s>", "unk_token": "<unk>"}
    return _byte_level({**special, "cls_token": "<s>", "sep_token": "</s>"}, "<s> $A </s>", "<s> $A </s> </s> $B </s>")


def _t5_tokens() -> PreTrainedTokenizerFast:
    return _byte_level({"pad_token": "<pad>", "eos_token": "</s>", "unk_token": "<unk>"}, "$A </s>", "$A </s> $B </s>")


def _xlnet_tokens() -> PreTrainedTokenizerFast:
    special = {
        "unk_token": "<unk>",
        "cls_token": "<cls>",
        "sep_token": "<sep>",
        "pad_token": "<pad>",
        "eos_token": "</s>",
    }
    tokenizer = _byte_level(
        special,
        "$A <sep> <cls>:2",
        "$A <sep> $B:1 <sep>:1 <cls>:2",
        ("input_ids", "token_type_ids", "attention_mask"),
    )
    tokenizer.padding_side = "left"
    return tokenizer


def _gpt2_tokens() -> PreTrainedTokenizerFast:
    """As in GPT-2: begin, end and unknown are one token; no pad token."""
    end = "<|endoftext|>"
    return _byte_level({"bos_token": end, "eos_token": end, "unk_token": end})


def _llama_tokens() -> PreTrainedTokenizerFast:
    """As in Llama 3: a begin token in front of every text; no pad token, no unknown token."""
    begin = "<|begin_of_text|>"
    return _byte_level({"bos_token": begin, "eos_token": "<|end_of_text|>"}, f"{begin} $A", f"{begin} $A {begin} $B")


def _smollm_tokens() -> PreTrainedTokenizerFast:
    """As in SmolLM2-Instruct: pad is the end token; unknown is another."""
    end = "<|im_end|>"
    return _byte_level({"bos_token": "<|im_start|>", "eos_token": end, "pad_token": end, "unk_token": "<|endoftext|>"})


def _qwen_tokens() -> PreTrainedTokenizerFast:
    """As in Qwen2-Instruct: pad and end differ; nothing is put in front of a text."""
    return _byte_level({"eos_token": "<|im_end|>", "pad_token": "<|endoftext|>"})


def _ids(tokenizer: Any) -> dict[str, Any]:
    names = ("pad", "bos", "eos")
    return {"vocab_size": len(tokenizer)} | {
        f"{name}_token_id": getattr(tokenizer, f"{name}_token_id") for name in names
    }


def _llama(tokenizer: Any) -> PreTrainedConfig:
    return LlamaConfig(**_SIZES, **_ids(tokenizer), num_key_value_heads=1, max_position_embeddings=128)


FAMILIES: dict[str, Family] = {
    "bert": Family(lambda: _wordpiece(True), lambda t: BertConfig(**_SIZES, **_ids(t), max_position_embeddings=64)),
    "roberta": Family(
        _roberta_tokens, lambda t: RobertaConfig(**_SIZES, **_ids(t), max_position_embeddings=66, type_vocab_size=1)
    ),
    "distilbert": Family(
        _wordpiece,
        lambda t: DistilBertConfig(
            dim=32, n_layers=2, n_heads=2, hidden_dim=48, max_position_embeddings=64, vocab_size=len(t)
        ),
    ),
    "deberta-v2": Family(
        lambda: _wordpiece(True),
        lambda t: DebertaV2Config(**_SIZES, **_ids(t), **_DEBERTA),
    ),
    "modernbert": Family(
        _wordpiece,
        lambda t: ModernBertConfig(
            **_SIZES, **_ids(t), max_position_embeddings=64, cls_token_id=t.cls_token_id, sep_token_id=t.sep_token_id
        ),
    ),
    "xlnet": Family(
        _xlnet_tokens,
        lambda t: XLNetConfig(
            vocab_size=len(t),
            d_model=32,
            n_layer=2,
            n_head=2,
            d_inner=48,
            pad_token_id=t.pad_token_id,
            eos_token_id=t.eos_token_id,
        ),
    ),
    "bart": Family(
        _roberta_tokens,
        lambda t: BartConfig(
            **_ids(t),
            d_model=32,
            encoder_layers=1,
            decoder_layers=1,
            encoder_attention_heads=2,
            decoder_attention_heads=2,
            encoder_ffn_dim=48,
            decoder_ffn_dim=48,
            max_position_embeddings=64,
            decoder_start_token_id=t.eos_token_id,
        ),
    ),
    "t5": Family(
        _t5_tokens,
        lambda t: T5Config(
            vocab_size=len(t),
            d_model=32,
            d_kv=16,
            d_ff=48,
            num_layers=1,
            num_heads=2,
            relative_attention_num_buckets=8,
            pad_token_id=t.pad_token_id,
            eos_token_id=t.eos_token_id,
            **_decoder_start(t.pad_token_id),
        ),
    ),
    "gpt2": Family(
        _gpt2_tokens,
        lambda t: GPT2Config(
            n_embd=32,
            n_layer=2,
            n_head=2,
            n_positions=64,
            vocab_size=len(t),
            bos_token_id=t.bos_token_id,
            eos_token_id=t.eos_token_id,
        ),
        decoder=True,
    ),
    "llama": Family(_llama_tokens, _llama, decoder=True),
    "smollm": Family(_smollm_tokens, _llama, decoder=True),
    "qwen2": Family(
        _qwen_tokens,
        lambda t: Qwen2Config(**_SIZES, **_ids(t), num_key_value_heads=1, max_position_embeddings=128),
        decoder=True,
    ),
    "qwen3": Family(
        _qwen_tokens,
        lambda t: Qwen3Config(**_SIZES, **_ids(t), num_key_value_heads=1, head_dim=16, max_position_embeddings=128),
        decoder=True,
    ),
}
DECODERS = [name for name, family in FAMILIES.items() if family.decoder]
ENCODERS = [name for name in FAMILIES if name not in DECODERS]
ENCODER_DECODERS = ["bart", "t5"]


def make_checkpoint(family: str, directory: Path, **body: Any) -> Path:
    """Save the body of a family, random under a fixed seed, and its tokenizer; `body` goes to the model's class."""
    recipe = FAMILIES[family]
    tokenizer = recipe.tokenizer()
    torch.manual_seed(0)
    with quiet():
        model = AutoModel.from_config(recipe.config(tokenizer), **body)
        for parameter in model.parameters():  # larger than at a real start, so that every weight shows in the logits
            if parameter.ndim > 1:
                torch.nn.init.normal_(parameter, std=0.2)
        model.save_pretrained(directory)
    tokenizer.save_pretrained(directory)
    return directory


_SHARED = tempfile.TemporaryDirectory()


@functools.cache
def checkpoint(family: str) -> Path:
    """The checkpoint of a family that all tests share; it is only to be read."""
    return make_checkpoint(family, Path(_SHARED.name) / family)


def classifier(
    source: str | Path, labels: Sequence[str] = LABELS, problem_type: str = SINGLE, **flags: Any
) -> tuple[Any, Any]:
    """Model and tokenizer as nlp_ft loads them from a family's shared checkpoint or from a directory."""
    path = checkpoint(source) if source in FAMILIES else source
    args = ModelArguments(model_name_or_path=str(path), **flags)
    tokenizer = load_tokenizer(args)
    torch.manual_seed(1)
    model, _, _ = load_classifier(args, tokenizer, problem_type, labels)
    return model.eval(), tokenizer


def lora_classifier(source: str | Path, **lora: Any) -> tuple[Any, Any]:
    """As `classifier`, with adapters."""
    model, tokenizer = classifier(source)
    lora.setdefault("lora_r", 4)
    return add_lora(model, LoraArguments(use_peft=True, **lora)), tokenizer


def train(model: Any, tokenizer: Any, rate: float = 0.05, steps: int = 3) -> None:
    """A few steps of plain SGD at a large rate on TEXTS, so that every trainable weight moves."""
    torch.manual_seed(2)
    optimizer = torch.optim.SGD([p for p in model.parameters() if p.requires_grad], lr=rate)
    batch = tokenizer(TEXTS, padding=True, return_tensors="pt")
    labels = torch.arange(len(TEXTS)) % model.config.num_labels
    model.train()
    for _ in range(steps):
        optimizer.zero_grad()
        torch.nn.functional.cross_entropy(model(**batch).logits, labels).backward()
        optimizer.step()
    model.eval()


@torch.inference_mode()
def logits(model: Any, tokenizer: Any, texts: Sequence[str] = TEXTS) -> torch.Tensor:
    """Of one padded batch, by nothing but transformers."""
    return model(**tokenizer(list(texts), padding=True, return_tensors="pt")).logits


WORDS = {word: number for number, word in enumerate(["[PAD]", "[UNK]", "[CLS]", "[SEP]", "one", "two", "three", "NA"])}


def make_tokenizer(special: bool = True, **kwargs: Any) -> PreTrainedTokenizerFast:
    """One token a word; with `special`, [CLS] a [SEP] b [SEP]."""
    core = Tokenizer(models.WordLevel(WORDS, unk_token="[UNK]"))
    core.pre_tokenizer = pre_tokenizers.WhitespaceSplit()  # type: ignore[assignment]
    if special:
        core.post_processor = processors.BertProcessing(("[SEP]", 3), ("[CLS]", 2))  # type: ignore[assignment]
    names = ["input_ids", "token_type_ids", "attention_mask"]
    return PreTrainedTokenizerFast(tokenizer_object=core, pad_token="[PAD]", model_input_names=names, **kwargs)


def save_classifier(tiny_bert: Path, folder: Path, **config: object) -> Path:
    """A random classifier on tiny BERT's body, saved as a run leaves it."""
    import torch
    from transformers import AutoModelForSequenceClassification, AutoTokenizer

    torch.manual_seed(1)
    model = AutoModelForSequenceClassification.from_pretrained(tiny_bert, **config)
    torch.nn.init.normal_(model.classifier.weight, std=0.5)
    model.save_pretrained(folder)
    AutoTokenizer.from_pretrained(tiny_bert).save_pretrained(folder)
    return folder
