import math
from pathlib import Path
from typing import Any

import pytest
import torch
from datasets import Dataset
from tiny import DECODERS, FAMILIES, TEXTS, classifier, lora_classifier
from torch.nn import functional
from transformers import AutoTokenizer, DataCollatorWithPadding, TrainingArguments

from nlp_ft.errors import ConfigError
from nlp_ft.models.heads import final_linear
from nlp_ft.training.augmentation.mixup import MixupLoss, check_batch
from nlp_ft.training.losses import ClassifierLoss
from nlp_ft.training.trainer import ClassifierTrainer

SINGLE, MULTI, REGRESSION = "single_label_classification", "multi_label_classification", "regression"
QUARTER, SHIFT = torch.tensor([0.25, 0.75]), 1


class Fixed(MixupLoss):
    """Draws what it is told to, and counts how often."""

    drawn = 0

    def __init__(self, *args: Any, shares: list[float], shift: int = 1, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.fixed = torch.tensor(shares), shift

    def draw(self, rows: int) -> tuple[torch.Tensor, int]:
        self.drawn += 1
        return self.fixed


def trained(values: list[list[float]]) -> dict[str, torch.Tensor]:
    return {"logits": torch.tensor(values, requires_grad=True)}


def test_two_rows_mixed_by_hand() -> None:
    # both mixed rows are [0.5, 0.75]: row 0 is a quarter of [2, 0] and three of [0, 1], row 1 three of [0, 1] and one of [2, 0]
    total = math.log(math.exp(0.5) + math.exp(0.75))
    wanted = 0.25 * (total - 0.5) + 0.75 * (total - 0.75)
    losses = MixupLoss(SINGLE).mixed_losses(
        torch.tensor([[2.0, 0.0], [0.0, 1.0]]), torch.tensor([0, 1]), QUARTER, SHIFT
    )
    assert losses.tolist() == pytest.approx([wanted, wanted], abs=1e-6)
    assert wanted == pytest.approx(0.6384394, abs=1e-6)


def test_the_partner_stands_shift_rows_further_round_the_batch() -> None:
    logits, labels = torch.tensor([[1.0], [10.0], [100.0]]), torch.tensor([0.0, 0.0, 7.0])
    losses = MixupLoss(REGRESSION).mixed_losses(logits, labels, torch.tensor([1.0, 0.0, 0.5]), 2)
    # row 0 is itself; row 1 is its partner, row 0; row 2 is half itself, half row 1: (100 + 10) / 2 against 7 and 0
    assert losses.tolist() == pytest.approx([1.0, 1.0, 0.5 * 48**2 + 0.5 * 55**2])


def test_cross_entropy_is_that_of_the_mixed_targets() -> None:
    torch.manual_seed(0)
    logits, labels, shares = torch.randn(6, 3), torch.randint(0, 3, (6,)), torch.rand(6)
    targets = functional.one_hot(labels, 3).float()
    mixed = [shares[:, None] * x + (1 - shares[:, None]) * x.roll(-2, 0) for x in (logits, targets)]
    losses = MixupLoss(SINGLE).mixed_losses(logits, labels, shares, 2)
    assert torch.allclose(losses, functional.cross_entropy(mixed[0], mixed[1], reduction="none"), atol=1e-6)


def test_binary_cross_entropy_is_that_of_the_mixed_targets() -> None:
    torch.manual_seed(0)
    logits, labels, shares = torch.randn(6, 3), torch.randint(0, 2, (6, 3)).float(), torch.rand(6)
    mixed = [shares[:, None] * x + (1 - shares[:, None]) * x.roll(-2, 0) for x in (logits, labels)]
    losses = MixupLoss(MULTI).mixed_losses(logits, labels, shares, 2)
    wanted = functional.binary_cross_entropy_with_logits(mixed[0], mixed[1], reduction="none").mean(dim=1)
    assert torch.allclose(losses, wanted, atol=1e-6)


def test_regression_has_the_gradient_of_the_mixed_targets() -> None:
    torch.manual_seed(0)
    logits, labels, shares = torch.randn(6, 1, requires_grad=True), torch.randn(6), torch.rand(6)
    MixupLoss(REGRESSION).mixed_losses(logits, labels, shares, 2).sum().backward()
    assert logits.grad is not None
    found, logits.grad = logits.grad.clone(), None
    mixed = [shares * x + (1 - shares) * x.roll(-2, 0) for x in (logits.squeeze(1), labels)]
    (mixed[0] - mixed[1]).square().sum().backward()
    assert logits.grad is not None
    assert torch.allclose(found, logits.grad, atol=1e-5)


def test_each_label_counts_by_its_own_weight() -> None:
    weights = [1.5, 0.5]
    losses = MixupLoss(SINGLE, weights).mixed_losses(
        torch.tensor([[2.0, 0.0], [0.0, 1.0]]), torch.tensor([0, 1]), QUARTER, SHIFT
    )
    total = math.log(math.exp(0.5) + math.exp(0.75))
    wanted = 0.25 * 1.5 * (total - 0.5) + 0.75 * 0.5 * (total - 0.75)
    assert losses.tolist() == pytest.approx([wanted, wanted], abs=1e-6)


@pytest.mark.parametrize("items", [None, 8, torch.tensor(8)])
def test_the_loss_is_the_sum_over_the_rows_of_the_whole_update(items: Any) -> None:
    labels = torch.tensor([0, 1])
    loss = Fixed(SINGLE, shares=[0.25, 0.75])(trained([[2.0, 0.0], [0.0, 1.0]]), labels, items)
    assert loss.item() == pytest.approx(2 * 0.6384394 / (2 if items is None else 8), abs=1e-6)


@pytest.mark.parametrize("items", [None, 8])
def test_shares_of_one_are_the_plain_loss(items: int | None) -> None:
    outputs, labels = trained([[2.0, 0.0], [0.0, 1.0]]), torch.tensor([0, 1])
    mixed = Fixed(SINGLE, shares=[1.0, 1.0])(outputs, labels, items)
    assert mixed.item() == pytest.approx(ClassifierLoss(SINGLE)(outputs, labels, items).item(), abs=1e-6)


def test_evaluation_and_a_batch_of_one_are_left_as_they_are() -> None:
    labels = torch.tensor([0, 1])
    loss = Fixed(SINGLE, shares=[0.25, 0.75])
    outputs = {"logits": torch.tensor([[2.0, 0.0], [0.0, 1.0]])}
    assert loss(outputs, labels, 2) == ClassifierLoss(SINGLE)(outputs, labels, 2)
    one = trained([[2.0, 0.0]])
    assert loss(one, labels[:1], 1) == ClassifierLoss(SINGLE)(one, labels[:1], 1)
    assert loss.drawn == 0


def test_no_row_is_its_own_partner_and_every_other_row_is() -> None:
    torch.manual_seed(0)
    shifts = {MixupLoss(SINGLE).draw(5)[1] for _ in range(200)}
    assert shifts == {1, 2, 3, 4}


@pytest.mark.parametrize(("alpha", "low", "high"), [(0.05, 0.0, 0.2), (1.0, 0.55, 0.65), (8.0, 0.9, 1.0)])
def test_alpha_says_how_much_is_mixed(alpha: float, low: float, high: float) -> None:
    torch.manual_seed(0)
    shares, _ = MixupLoss(SINGLE, alpha=alpha).draw(20_000)
    middle = ((shares > 0.2) & (shares < 0.8)).float().mean().item()  # of a uniform share: 0.6
    assert low <= middle <= high
    assert shares.mean().item() == pytest.approx(0.5, abs=0.02)
    assert shares.min() >= 0
    assert shares.max() <= 1


@pytest.mark.parametrize("alpha", [0.0, -1.0, math.inf, math.nan])
def test_an_alpha_that_cannot_be_is_refused(alpha: float) -> None:
    with pytest.raises(ConfigError, match=r"^--mixup_alpha must be positive and finite, got .+\.$"):
        MixupLoss(SINGLE, alpha=alpha)


def test_batches_of_one_row_are_refused_before_training() -> None:
    with pytest.raises(ConfigError, match=r"--per_device_train_batch_size is 1, set it to 2 or more\.$"):
        check_batch(1)
    check_batch(2)


@pytest.mark.parametrize("family", FAMILIES)
def test_mixing_logits_is_mixing_the_features_in_front_of_the_last_layer(family: str) -> None:
    model, tokenizer = classifier(family)
    batch = tokenizer(TEXTS, padding=True, return_tensors="pt")
    caught: list[torch.Tensor] = []
    _, linear = final_linear(model)
    linear.register_forward_pre_hook(lambda _, inputs: caught.append(inputs[0]))
    shares = torch.linspace(0, 1, len(TEXTS))[:, None]
    with torch.no_grad():
        logits, features = model(**batch).logits, caught.pop()
        if family in DECODERS:  # the last token of each row, found without the model's own choice
            features = features[torch.arange(len(TEXTS)), batch["attention_mask"].sum(dim=1) - 1]
        mixed = linear(shares * features + (1 - shares) * features.roll(-2, 0))
    assert torch.allclose(shares * logits + (1 - shares) * logits.roll(-2, 0), mixed, atol=1e-5)


@pytest.mark.parametrize("family", ["bert", "gpt2", "llama"])
def test_adapters_and_a_wrapped_head_learn_from_mixed_rows(family: str) -> None:
    model, tokenizer = lora_classifier(family)
    model.train()
    labels = torch.tensor([0, 1, 2, 0, 1, 2])
    torch.manual_seed(0)
    MixupLoss(SINGLE, alpha=1.0)(model(**tokenizer(TEXTS, padding=True, return_tensors="pt")), labels, 6).backward()
    trainable = {name: p.grad for name, p in model.named_parameters() if p.requires_grad}
    assert any("lora_B" in name for name in trainable)
    assert any("modules_to_save" in name for name in trainable)
    assert all(
        grad is not None and grad.abs().sum() > 0
        for name, grad in trainable.items()
        if "lora_A" not in name  # has no gradient yet, as lora_B starts at zero
    )


def test_a_trainer_mixes_every_batch_of_training_and_none_of_evaluation(tiny_bert: Path, tmp_path: Path) -> None:
    model, _ = classifier(tiny_bert)
    tokenizer = AutoTokenizer.from_pretrained(tiny_bert)
    rows = Dataset.from_dict({**tokenizer(TEXTS * 2), "labels": [0, 1, 2] * 4})
    loss = Fixed(SINGLE, shares=[0.5, 0.5, 0.5])
    arguments = TrainingArguments(
        output_dir=str(tmp_path),
        use_cpu=True,
        report_to="none",
        disable_tqdm=True,
        per_device_train_batch_size=3,
        gradient_accumulation_steps=2,
        max_steps=2,
        save_strategy="no",
    )
    trainer = ClassifierTrainer(
        model=model,
        args=arguments,
        train_dataset=rows,  # type: ignore[arg-type]
        eval_dataset=rows,  # type: ignore[arg-type]
        data_collator=DataCollatorWithPadding(tokenizer),
        compute_loss_func=loss,
    )
    trainer.train()
    assert loss.drawn == 4
    measured = trainer.evaluate()["eval_loss"]
    assert loss.drawn == 4
    with torch.no_grad():
        logits = model.eval()(**tokenizer(TEXTS * 2, padding=True, return_tensors="pt")).logits
    assert measured == pytest.approx(functional.cross_entropy(logits, torch.tensor([0, 1, 2] * 4)).item(), rel=1e-4)
