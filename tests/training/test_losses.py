import math

import numpy as np
import pytest
import torch
from torch.nn import functional

from nlp_ft.errors import ConfigError
from nlp_ft.training.losses import ClassifierLoss, class_weights

SINGLE, MULTI, REGRESSION = "single_label_classification", "multi_label_classification", "regression"


def batch_of(problem: str, rows: int = 16) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(rows, 1 if problem == REGRESSION else 3, generator=generator)
    labels = {
        SINGLE: torch.randint(0, 3, (rows,), generator=generator),
        MULTI: torch.randint(0, 2, (rows, 3), generator=generator).float(),
        REGRESSION: torch.randn(rows, generator=generator) * 100,
    }
    return logits, labels[problem]


@pytest.mark.parametrize("problem", [SINGLE, MULTI, REGRESSION])
def test_four_parts_of_a_batch_add_up_to_the_whole(problem: str) -> None:
    logits, labels = batch_of(problem)
    loss = ClassifierLoss(problem)
    whole = loss({"logits": logits}, labels, num_items_in_batch=16)
    parts = sum(loss({"logits": logits[i : i + 4]}, labels[i : i + 4], num_items_in_batch=16) for i in range(0, 16, 4))
    assert torch.allclose(whole, torch.as_tensor(parts), rtol=1e-6)
    assert torch.allclose(whole, loss({"logits": logits}, labels), rtol=1e-6)  # without a count: the mean


def test_losses_are_those_of_torch_by_problem_type() -> None:
    logits, labels = batch_of(SINGLE)
    assert torch.allclose(ClassifierLoss(SINGLE)({"logits": logits}, labels), functional.cross_entropy(logits, labels))
    logits, labels = batch_of(MULTI)
    wanted = functional.binary_cross_entropy_with_logits(logits, labels)
    assert torch.allclose(ClassifierLoss(MULTI)({"logits": logits}, labels), wanted)
    logits, labels = batch_of(REGRESSION)
    assert torch.allclose(ClassifierLoss(REGRESSION)({"logits": logits}, labels), ((logits[:, 0] - labels) ** 2).mean())


def test_a_single_regression_row_and_a_target_of_minus_100_count() -> None:
    loss = ClassifierLoss(REGRESSION)({"logits": torch.tensor([[-90.0]])}, torch.tensor([-100.0]), num_items_in_batch=1)
    assert loss.item() == pytest.approx(100.0)


def test_a_weighted_row_counts_by_the_weight_of_its_label_smoothed_or_not() -> None:
    logits, labels = torch.tensor([[0.0, 0.0], [0.0, 0.0]]), torch.tensor([0, 1])
    for smoothing in (0.0, 0.1):  # both logits are 0, so every class costs log 2, smoothed or not
        rows = ClassifierLoss(SINGLE, [0.5, 3.0], smoothing).row_losses(logits, labels)
        assert rows.tolist() == pytest.approx([0.5 * math.log(2), 3.0 * math.log(2)])


def test_smoothing_by_hand() -> None:
    logits, labels = torch.tensor([[2.0, 0.0]]), torch.tensor([0])
    log_p = torch.log_softmax(logits, dim=-1)[0]
    wanted = -(0.95 * log_p[0] + 0.05 * log_p[1])  # 0.1 spread evenly over two classes
    assert ClassifierLoss(SINGLE, None, 0.1).row_losses(logits, labels).item() == pytest.approx(wanted.item())


def test_multi_label_weights_are_pos_weight() -> None:
    logits, labels = torch.zeros(1, 2), torch.tensor([[1.0, 0.0]])
    rows = ClassifierLoss(MULTI, [4.0, 4.0]).row_losses(logits, labels)
    assert rows.item() == pytest.approx((4 * math.log(2) + math.log(2)) / 2)  # the negative term keeps weight 1


def test_balanced_weights_are_scikit_learns_and_average_to_one_over_the_rows() -> None:
    from sklearn.utils.class_weight import compute_class_weight

    labels = [0] * 90 + [1] * 9 + [2]
    wanted = compute_class_weight("balanced", classes=np.arange(3), y=labels)
    weights = class_weights("balanced", SINGLE, ["a", "b", "c"], [90, 9, 1], 100)
    assert weights is not None
    assert weights == pytest.approx(list(wanted))
    assert sum(w * n for w, n in zip(weights, [90, 9, 1], strict=True)) / 100 == pytest.approx(1)


def test_balanced_multi_label_weights_are_negatives_over_positives() -> None:
    assert class_weights("balanced", MULTI, ["a", "b"], [20, 50], 100) == pytest.approx([4.0, 1.0])


def test_json_weights_are_scaled_to_a_mean_of_one_and_left_out_labels_weigh_one() -> None:
    assert class_weights('{"b": 3}', SINGLE, ["a", "b"], [50, 50], 100) == pytest.approx([0.5, 1.5])
    assert class_weights(None, SINGLE, ["a", "b"], [1, 1], 2) is None


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("balance", "--class_weights takes 'balanced' or a JSON object such as '{\"a\": 2}', got 'balance'."),
        (
            '{"pos": 2}',
            "--class_weights names the label 'pos', which is not in the data (neg, poss). Did you mean 'poss'?",
        ),
        ('{"neg": 0}', "--class_weights: the weight of 'neg' must be a positive number, got 0."),
        ('{"neg": true}', "--class_weights: the weight of 'neg' must be a positive number, got True."),
        ('{"neg": NaN}', "--class_weights: the weight of 'neg' must be a positive number, got nan."),
    ],
)
def test_a_bad_class_weight_is_refused_in_one_line(spec: str, message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        class_weights(spec, SINGLE, ["neg", "poss"], [1, 1], 2)
    assert str(caught.value) == message


def test_smoothing_and_weights_are_refused_where_there_are_no_classes() -> None:
    with pytest.raises(ConfigError, match="--label_smoothing_factor fits single-label problems only"):
        ClassifierLoss(REGRESSION, label_smoothing=0.1)
    with pytest.raises(ConfigError, match="--class_weights fits classes"):
        class_weights("balanced", REGRESSION, [], [], 3)
