"""The head: found in every family, started from a probe, and pooled by mean inside stock layers."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from peft import LoraConfig, PeftModel, TaskType, get_peft_model
from sklearn.linear_model import LogisticRegression, Ridge
from torch.nn import functional
from transformers import AutoConfig, AutoModelForSequenceClassification, BertForMaskedLM, PreTrainedModel

from nlp_ft.errors import DataError, ModelError
from nlp_ft.models.classifier import set_dropout
from nlp_ft.models.heads import final_linear, head_modules, probe_rows, start_from_probe
from nlp_ft.models.pooling import choose_pooling, pool_all_ways, pool_by_mean, set_pooling
from nlp_ft.training.losses import ClassifierLoss

PAD, VOCABULARY, WIDTH = 0, 40, 16
_COMMON: dict[str, Any] = {"vocab_size": VOCABULARY, "pad_token_id": PAD, "hidden_size": WIDTH}
_DECODER = {"num_hidden_layers": 2, "num_attention_heads": 2, "num_key_value_heads": 1, "intermediate_size": 24}
_ENCODER = {"num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 24, "max_position_embeddings": 32}
_GPT2 = {"vocab_size": VOCABULARY, "pad_token_id": PAD, "n_embd": WIDTH, "n_layer": 2, "n_head": 2, "n_positions": 32}
_XLNET = {"vocab_size": VOCABULARY, "pad_token_id": PAD, "d_model": WIDTH, "n_layer": 2, "n_head": 2, "d_inner": 24}
_DISTIL = {"vocab_size": VOCABULARY, "pad_token_id": PAD, "dim": WIDTH, "n_layers": 2, "n_heads": 2, "hidden_dim": 24}
FAMILIES: dict[str, dict[str, Any]] = {
    "bert": {**_COMMON, **_ENCODER},
    "roberta": {**_COMMON, **_ENCODER},
    "distilbert": _DISTIL,
    "deberta-v2": {**_COMMON, **_ENCODER, "relative_attention": True, "pos_att_type": ["c2p", "p2c"]},
    "modernbert": {**_COMMON, **_ENCODER, "bos_token_id": 1, "eos_token_id": 2, "cls_token_id": 1, "sep_token_id": 2},
    "electra": {**_COMMON, **_ENCODER, "embedding_size": WIDTH},
    "albert": {**_COMMON, **_ENCODER, "embedding_size": WIDTH},
    "xlnet": _XLNET,
    "gpt2": _GPT2,
    "llama": {**_COMMON, **_DECODER},
    "qwen2": {**_COMMON, **_DECODER},
    "qwen3": {**_COMMON, **_DECODER, "head_dim": 8},
}
FINAL = {"roberta": "classifier.out_proj", "electra": "classifier.out_proj", "xlnet": "logits_proj"}
FINAL |= dict.fromkeys(("gpt2", "llama", "qwen2", "qwen3"), "score")
MEAN = ("bert", "roberta", "distilbert", "modernbert")


def tiny(
    family: str, outputs: int = 3, problem_type: str = "single_label_classification", dropout: float = 0.0
) -> PreTrainedModel:
    """A random two-layer classifier in evaluation mode, its weights large enough for features that differ."""
    torch.manual_seed(0)
    config = AutoConfig.for_model(family, **FAMILIES[family], num_labels=outputs, problem_type=problem_type)
    set_dropout(config, dropout)
    model = AutoModelForSequenceClassification.from_config(config)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if parameter.ndim > 1 and "norm" not in name.lower():
                parameter.normal_(std=0.3)
    return model.eval()


def batches(rows: int = 60, size: int = 8, side: str = "right") -> list[dict[str, torch.Tensor]]:
    """Random token ids of 3 to 9 tokens, padded to the longest of each batch."""
    generator = torch.Generator().manual_seed(1)
    found = []
    for start in range(0, rows, size):
        texts = [
            torch.randint(3, VOCABULARY, (n,), generator=generator) for n in _lengths(min(size, rows - start), start)
        ]
        ids = torch.nn.utils.rnn.pad_sequence(texts, batch_first=True, padding_value=PAD, padding_side=side)
        found.append({"input_ids": ids, "attention_mask": (ids != PAD).long()})
    return found


def _lengths(count: int, start: int) -> list[int]:
    return [3 + (start + i) * 5 % 7 for i in range(count)]


@torch.no_grad()
def compute_logits(model: Any, given: list[dict[str, torch.Tensor]]) -> np.ndarray:
    model.eval()
    return torch.cat([model(**batch).logits for batch in given]).numpy()


@torch.no_grad()
def features_of(model: PreTrainedModel, given: list[dict[str, torch.Tensor]]) -> np.ndarray:
    """What the last linear layer sees, one row at a time without padding, so that the last position is the last token."""
    caught: list[torch.Tensor] = []
    hook = final_linear(model)[1].register_forward_pre_hook(lambda _, inputs: caught.append(inputs[0]))
    for batch in given:
        for ids, mask in zip(batch["input_ids"], batch["attention_mask"], strict=True):
            text = ids[mask.bool()][None]
            model(input_ids=text, attention_mask=torch.ones_like(text))
    hook.remove()
    return torch.cat([c if c.ndim == 2 else c[:, -1] for c in caught]).double().numpy()


def standardised(features: np.ndarray, centred: bool = True) -> np.ndarray:
    spread = features.std(axis=0)
    return (features - (features.mean(axis=0) if centred else 0)) / np.where(spread < 1e-6, 1, spread)


def side_of(family: str) -> str:
    return "left" if family == "xlnet" else "right"


def three_classes(rows: int = 60) -> np.ndarray:
    return np.random.default_rng(3).integers(0, 3, rows)


@pytest.mark.parametrize("family", FAMILIES)
def test_the_final_linear_yields_the_logits(family: str) -> None:
    name, linear = final_linear(tiny(family))
    assert (name, linear.out_features) == (FINAL.get(family, "classifier"), 3)


def test_a_model_without_a_classifier_is_refused() -> None:
    config: Any = AutoConfig.for_model("bert", **FAMILIES["bert"], num_labels=7)
    with pytest.raises(ModelError, match=r"^BertForMaskedLM has no linear layer with 7 outputs after its encoder\.$"):
        final_linear(BertForMaskedLM(config))


@pytest.mark.parametrize("family", FAMILIES)
def test_the_probe_start_repeats_sklearns_decision_function_through_the_whole_model(family: str) -> None:
    model, given, labels = tiny(family), batches(side=side_of(family)), three_classes()
    features = features_of(model, given)
    report = start_from_probe(model, given, labels, "single_label_classification")
    assert report["fitted"] is True
    assert report["rows"] == 60
    bias = final_linear(model)[1].bias is not None
    scaled = standardised(features, bias)
    probe = LogisticRegression(C=1 / report["penalty"], fit_intercept=bias, max_iter=300).fit(scaled, labels)
    logits = compute_logits(model, given)
    np.testing.assert_allclose(logits, probe.decision_function(scaled), atol=2e-3)
    assert report["train_score"] == pytest.approx((logits.argmax(axis=1) == labels).mean())


def test_two_classes_share_the_decision_function_between_them() -> None:
    model, given = tiny("bert", outputs=2), batches()
    labels = three_classes() % 2
    features = features_of(model, given)
    report = start_from_probe(model, given, labels, "single_label_classification")
    scaled = standardised(features)
    probe = LogisticRegression(C=1 / report["penalty"], max_iter=300).fit(scaled, labels)
    logits = compute_logits(model, given)
    np.testing.assert_allclose(logits[:, 1] - logits[:, 0], probe.decision_function(scaled), atol=2e-3)
    np.testing.assert_allclose(logits[:, 0], -logits[:, 1], atol=1e-5)


@pytest.mark.parametrize("family", ["bert", "llama"])
def test_a_regression_head_starts_at_the_ridge_fit_in_the_targets_own_units(family: str) -> None:
    model, given = tiny(family, outputs=1, problem_type="regression"), batches()
    features = features_of(model, given)
    targets = 100 + 5 * features[:, 0] + 0.1 * np.random.default_rng(0).normal(size=60)
    report = start_from_probe(model, given, targets, "regression")
    bias = final_linear(model)[1].bias is not None
    scaled = standardised(features, bias)
    probe = Ridge(alpha=report["penalty"], fit_intercept=bias).fit(scaled, targets)
    np.testing.assert_allclose(compute_logits(model, given)[:, 0], probe.predict(scaled).ravel(), atol=2e-2)
    assert (report["held_out_score"] > 0.8) is bias  # through the origin there is no way to a mean of 100


def test_each_label_of_a_multi_label_problem_has_a_regression_of_its_own() -> None:
    model, given = tiny("bert", problem_type="multi_label_classification"), batches()
    labels = np.random.default_rng(5).integers(0, 2, (60, 3)).astype(float)
    features = features_of(model, given)
    report = start_from_probe(model, given, labels, "multi_label_classification")
    scaled = standardised(features)
    logits = compute_logits(model, given)
    for i, penalty in enumerate(report["penalty"]):
        probe = LogisticRegression(C=1 / penalty, max_iter=300).fit(scaled, labels[:, i])
        np.testing.assert_allclose(logits[:, i], probe.decision_function(scaled), atol=2e-3)


def test_a_class_without_a_row_leaves_the_head_as_it_was_and_says_so() -> None:
    model, labels = tiny("bert"), np.array([0, 2] * 30)
    before = final_linear(model)[1].weight.clone()
    report = start_from_probe(model, batches(), labels, "single_label_classification")
    assert report == {"fitted": False, "reason": "class 1 has no training row"}
    assert torch.equal(before, final_linear(model)[1].weight)


def test_a_label_that_never_varies_leaves_the_head_as_it_was_and_says_so() -> None:
    labels = np.random.default_rng(5).integers(0, 2, (60, 3))
    labels[:, 2] = 1
    report = start_from_probe(tiny("bert"), batches(), labels, "multi_label_classification")
    assert report == {"fitted": False, "reason": "label 2 is the same in all training rows"}


def test_targets_that_never_vary_leave_the_head_as_it_was_and_say_so() -> None:
    model = tiny("bert", outputs=1, problem_type="regression")
    report = start_from_probe(model, batches(), np.full(60, 2.5), "regression")
    assert report == {"fitted": False, "reason": "all training targets are the same"}


def test_a_class_with_one_row_is_fitted_though_nothing_can_be_held_out() -> None:
    labels = np.array([0, 1] * 29 + [0, 2])
    report = start_from_probe(tiny("bert"), batches(), labels, "single_label_classification")
    assert report["fitted"] is True
    assert report["held_out_score"] is None


def test_labels_that_do_not_match_the_rows_are_refused() -> None:
    with pytest.raises(DataError, match=r"^the probe got 60 labels for 40 rows\.$"):
        start_from_probe(tiny("bert"), batches(40), three_classes(), "single_label_classification")


def test_the_probe_leaves_mode_hooks_and_encoder_alone_and_two_runs_agree() -> None:
    models = [tiny("bert").train(), tiny("bert").train()]
    before = {name: value.clone() for name, value in models[0].base_model.state_dict().items()}
    reports = [start_from_probe(m, batches(), three_classes(), "single_label_classification") for m in models]
    assert reports[0] == reports[1]
    assert torch.equal(final_linear(models[0])[1].weight, final_linear(models[1])[1].weight)
    assert models[0].training
    assert not final_linear(models[0])[1]._forward_pre_hooks
    assert all(torch.equal(value, before[name]) for name, value in models[0].base_model.state_dict().items())


@pytest.mark.parametrize("problem", ["regression", "single_label_classification", "multi_label_classification"])
def test_a_fit_that_dropout_would_drown_is_made_on_features_with_dropout(problem: str) -> None:
    losses, reports = [], []
    for dropout in (0.0, 0.5):
        model, given = tiny("bert", 2 - (problem == "regression"), problem, dropout), batches(120)
        first = features_of(model, given)[:, 0]
        above = first > np.median(first)
        labels: Any = {"regression": first, "single_label_classification": above.astype(int)}.get(problem)
        if labels is None:
            labels = np.stack([above, ~above], axis=1).astype(float)
        reports.append(start_from_probe(model, given, labels, problem))
        torch.manual_seed(1)
        model.train()
        with torch.no_grad():
            logits = torch.cat([model(**batch).logits for batch in given])
        truth = torch.from_numpy(labels).to(logits.dtype if labels.dtype == float else torch.long)
        loss = ClassifierLoss(problem).row_losses(logits, truth).mean()
        losses.append(float(loss) / (np.var(first) if problem == "regression" else np.log(2)))
    assert [report["dropout"] for report in reports] == [False, True]
    assert losses[0] < 0.5
    assert losses[1] < 1.3  # of a constant answer's; fitted without dropout, it is more than 2


def test_a_rare_class_that_no_sampled_row_has_is_no_reason_for_dropout() -> None:
    """Dropout is tried on every third of 600 rows; a constant answer to those of one class alone has no loss at all."""
    labels = np.zeros(600, dtype=int)
    labels[[1, 301, 511]] = 1
    report = start_from_probe(tiny("bert", outputs=2), batches(600), labels, "single_label_classification")
    assert report["dropout"] is False


def test_a_capped_sample_keeps_the_proportions_and_the_rarest_class() -> None:
    labels = np.array([0] * 800 + [1] * 200 + [2])
    rows = probe_rows(labels, "single_label_classification", 100, seed=0)
    assert np.bincount(labels[rows]).tolist() == [79, 20, 1]
    assert (np.diff(rows) > 0).all()
    assert not np.array_equal(rows, probe_rows(labels, "single_label_classification", 100, seed=1))


def test_only_the_sampled_rows_are_used() -> None:
    report = start_from_probe(tiny("bert"), batches(), three_classes(), "single_label_classification", max_rows=30)
    assert report["rows"] == 30


def test_on_learnable_rows_the_probe_beats_the_random_head() -> None:
    model, given = tiny("bert", outputs=2), batches(120)
    truth = (features_of(model, given)[:, 1] > 0).astype(int)
    random = (compute_logits(model, given).argmax(axis=1) == truth).mean()
    report = start_from_probe(model, given, truth, "single_label_classification")
    assert report["held_out_score"] > max(0.85, random)


EXPECTED_HEADS = {
    "bert": ["classifier", "bert.pooler"],
    "roberta": ["classifier"],
    "distilbert": ["pre_classifier", "classifier"],
    "deberta-v2": ["pooler", "classifier"],
    "modernbert": ["head", "classifier"],
    "electra": ["classifier"],
    "albert": ["classifier", "albert.pooler"],
    "xlnet": ["sequence_summary", "logits_proj"],
    **{family: ["score"] for family in ("gpt2", "llama", "qwen2", "qwen3")},
}


@pytest.mark.parametrize("family", FAMILIES)
def test_the_whole_head_is_named(family: str) -> None:
    assert head_modules(tiny(family)) == EXPECTED_HEADS[family]


@pytest.mark.parametrize("family", FAMILIES)
def test_peft_trains_every_weight_of_the_head_and_repeats_it_after_a_reload(family: str, tmp_path: Path) -> None:
    base = tiny(family)
    base.save_pretrained(tmp_path / "base")
    heads = head_modules(base)
    config = LoraConfig(task_type=TaskType.SEQ_CLS, r=2, target_modules="all-linear", modules_to_save=list(heads))
    wrapped = get_peft_model(base, config)
    trained = {name for name, parameter in wrapped.named_parameters() if parameter.requires_grad}
    for head in heads:
        assert any(f"{head}.modules_to_save" in name for name in trained), head
    with torch.no_grad():
        for name, parameter in wrapped.named_parameters():
            if name in trained:
                parameter.add_(0.05)
    given = batches(16, side=side_of(family))
    expected = compute_logits(wrapped, given)
    wrapped.save_pretrained(str(tmp_path / "adapter"))
    fresh = AutoModelForSequenceClassification.from_pretrained(tmp_path / "base")
    again = PeftModel.from_pretrained(fresh, str(tmp_path / "adapter"))
    np.testing.assert_allclose(compute_logits(again, given), expected, atol=1e-5)
    merged = again.merge_and_unload()
    np.testing.assert_allclose(compute_logits(merged, given), expected, atol=1e-4)


@pytest.mark.parametrize("family", ["bert", "roberta", "distilbert"])
def test_the_added_layer_gives_the_normalised_masked_mean(family: str) -> None:
    model, given = tiny(family), batches(8)[0]
    with torch.no_grad():
        hidden = model.base_model(**given).last_hidden_state
        mask = given["attention_mask"][..., None]
        mean = functional.layer_norm((hidden * mask).sum(dim=1) / mask.sum(dim=1), (WIDTH,))
        pool_by_mean(model)
        pooled = model.base_model(**given).last_hidden_state[:, 0]
    assert functional.cosine_similarity(pooled, mean).min() > 0.999
    assert (pooled - mean).norm() / mean.norm() < 0.05


@pytest.mark.parametrize("family", MEAN)
def test_mean_pooled_models_are_deaf_to_padding(family: str) -> None:
    model = tiny(family)
    pool_by_mean(model)
    start_from_probe(model, batches(), three_classes(), "single_label_classification")
    together, alone = compute_logits(model, batches(12, size=12)), compute_logits(model, batches(12, size=1))
    np.testing.assert_allclose(together, alone, atol=1e-4)


@pytest.mark.parametrize("family", MEAN)
def test_plain_transformers_repeats_the_logits_of_a_mean_pooled_model(family: str, tmp_path: Path) -> None:
    model, given = tiny(family), batches()
    pool_by_mean(model)
    start_from_probe(model, given, three_classes(), "single_label_classification")
    expected = compute_logits(model, given)
    assert not np.allclose(expected, compute_logits(tiny(family), given), atol=1e-2)
    model.save_pretrained(tmp_path)
    again, info = AutoModelForSequenceClassification.from_pretrained(tmp_path, output_loading_info=True)
    assert not info["missing_keys"]
    assert not info["unexpected_keys"]
    np.testing.assert_allclose(compute_logits(again, given), expected, atol=1e-6)


@pytest.mark.parametrize("family", ["bert", "roberta", "distilbert"])
def test_a_second_surgery_changes_nothing_even_after_a_reload(family: str, tmp_path: Path) -> None:
    model, given = tiny(family), batches(16)
    pool_by_mean(model)
    expected = compute_logits(model, given)
    model.save_pretrained(tmp_path)
    again = AutoModelForSequenceClassification.from_pretrained(tmp_path)
    pool_by_mean(again)
    assert again.config.num_hidden_layers == 3
    np.testing.assert_allclose(compute_logits(again, given), expected, atol=1e-6)


@pytest.mark.parametrize("family", ["bert", "roberta", "distilbert"])
def test_gradients_reach_the_encoder_and_the_head_through_the_added_layer(family: str) -> None:
    model = tiny(family)
    pool_by_mean(model)
    start_from_probe(model, batches(), three_classes(), "single_label_classification")
    loss = model(**batches(8)[0], labels=torch.from_numpy(three_classes(8))).loss
    loss.backward()
    still = [name for name, p in model.named_parameters() if p.grad is None or not p.grad.abs().sum() > 0]
    layer = {name.partition("layer.2.")[2] for name in still if "layer.2." in name}
    unmoved = (
        {"q_lin", "k_lin", "ffn.lin1"} if family == "distilbert" else {"self.query", "self.key", "intermediate.dense"}
    )
    assert {name.rpartition(".")[0].removeprefix("attention.") for name in layer} <= unmoved
    assert all("layer.2." in name or "pooler" in name or "key" in name or "k_lin" in name for name in still), still


def test_an_architecture_without_a_stock_mean_is_refused_by_name() -> None:
    with pytest.raises(ModelError) as caught:
        choose_pooling("mean", tiny("gpt2"), "somewhere")
    assert str(caught.value) == (
        "--pooling mean: GPT2ForSequenceClassification has no stock way to pool by mean; bert, roberta, xlm-roberta, "
        "camembert, distilbert and modernbert have. Use --pooling stock."
    )


@pytest.mark.parametrize("family", MEAN)
def test_cls_is_held_by_stock_layers_and_repeated_by_plain_transformers(family: str, tmp_path: Path) -> None:
    model, given = tiny(family), batches()
    assert choose_pooling("cls", model, "somewhere") == ("cls", "as asked")
    set_pooling(model, "cls")
    start_from_probe(model, given, three_classes(), "single_label_classification")
    model.save_pretrained(tmp_path)
    again = AutoModelForSequenceClassification.from_pretrained(tmp_path)
    np.testing.assert_allclose(compute_logits(again, given), compute_logits(model, given), atol=1e-6)


@pytest.mark.parametrize("family", ["gpt2", "llama", "qwen3", "xlnet"])
def test_last_is_what_decoders_read_already(family: str) -> None:
    assert choose_pooling("last", tiny(family), "somewhere") == ("last", "as asked")


@pytest.mark.parametrize(
    ("asked", "family", "reason"),
    [
        (
            "last",
            "roberta",
            "RobertaForSequenceClassification is an encoder's, and reads its first token; the last one is what decoders read",
        ),
        (
            "cls",
            "deberta-v2",
            "DebertaV2ForSequenceClassification has no stock way to hand its first token on; bert, roberta, xlm-roberta, "
            "camembert, distilbert and modernbert have",
        ),
        ("max", "bert", "no stock layers can take a maximum over tokens, so plain transformers could not load it"),
    ],
)
def test_a_pooling_that_cannot_be_held_is_refused_with_the_reason(asked: str, family: str, reason: str) -> None:
    with pytest.raises(ModelError) as caught:
        choose_pooling(asked, tiny(family), "somewhere")
    assert str(caught.value) == f"--pooling {asked}: {reason}. Use --pooling stock."


@pytest.mark.parametrize("side", ["left", "right"])
def test_every_pooling_is_deaf_to_padding(side: str) -> None:
    hidden = torch.tensor([[[1.0, -4.0], [3.0, -2.0], [9.0, 9.0]]])
    mask = torch.tensor([[1, 1, 0]])
    if side == "left":
        hidden, mask = hidden.flip(1), mask.flip(1)
    first, last = ([1.0, -4.0], [3.0, -2.0]) if side == "right" else ([3.0, -2.0], [1.0, -4.0])
    assert pool_all_ways(hidden, mask).tolist() == [[2.0, -3.0, *first, *last, 3.0, -2.0]]


def _checkpoint(directory: Path, **modes: bool) -> str:
    (directory / "1_Pooling").mkdir()
    (directory / "1_Pooling" / "config.json").write_text(json.dumps({"word_embedding_dimension": 16, **modes}))
    return str(directory)


def test_auto_pools_by_mean_where_the_checkpoint_was_trained_so(tmp_path: Path) -> None:
    name = _checkpoint(tmp_path, pooling_mode_mean_tokens=True, pooling_mode_cls_token=False)
    assert choose_pooling("auto", tiny("bert"), name)[0] == "mean"
    assert choose_pooling("stock", tiny("bert"), name)[0] == "stock"
    assert choose_pooling("auto", tiny("gpt2"), name)[0] == "stock"


def test_auto_keeps_stock_pooling_elsewhere(tmp_path: Path) -> None:
    assert choose_pooling("auto", tiny("bert"), str(tmp_path))[0] == "stock"
    name = _checkpoint(tmp_path, pooling_mode_mean_tokens=True, pooling_mode_max_tokens=True)
    assert choose_pooling("auto", tiny("bert"), name)[0] == "stock"
    assert choose_pooling("mean", tiny("bert"), name)[0] == "mean"


def test_a_checkpoint_that_pools_by_mean_already_goes_on_doing_so(tmp_path: Path) -> None:
    model = tiny("bert")
    pool_by_mean(model)
    assert choose_pooling("stock", model, str(tmp_path)) == ("mean", "the checkpoint pools by mean already")
