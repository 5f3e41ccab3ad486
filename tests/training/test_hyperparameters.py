from pathlib import Path
from typing import Any

import pytest
from transformers import TrainingArguments

from nlp_ft.errors import ConfigError
from nlp_ft.training import hyperparameters, setup

SINGLE, REGRESSION = "single_label_classification", "regression"


def settled(tmp_path: Path, given: set[str] | None, rows: int = 8496, parameters: int = 22_700_000, **chosen: object):  # noqa: ANN201
    use_peft = bool(chosen.pop("use_peft", False))
    problem = str(chosen.pop("problem_type", SINGLE))
    args = TrainingArguments(output_dir=str(tmp_path), use_cpu=True, **chosen)  # type: ignore[arg-type]
    said = hyperparameters.choose(args, given, rows, parameters, use_peft, problem)
    return args, said


def test_what_the_user_did_not_set_follows_from_model_and_rows_and_is_said(tmp_path: Path) -> None:
    args, said = settled(tmp_path, set())
    assert (args.learning_rate, args.num_train_epochs, args.per_device_train_batch_size) == (1e-4, 2.0, 32)
    assert (args.metric_for_best_model, args.greater_is_better) == ("f1_macro", True)
    assert said == [
        "chosen for a model of 22.7M parameters and 8496 rows: 32 rows a step and process, learning rate 0.0001, 2 epochs, "
        "best checkpoint by f1_macro on validation"
    ]


def test_what_the_user_set_is_left_alone(tmp_path: Path) -> None:
    given = {"learning_rate", "num_train_epochs", "per_device_train_batch_size", "metric_for_best_model"}
    args, said = settled(
        tmp_path,
        given,
        learning_rate=7e-5,
        num_train_epochs=9,
        per_device_train_batch_size=3,
        metric_for_best_model="accuracy",
    )
    assert (args.learning_rate, args.num_train_epochs, args.per_device_train_batch_size) == (7e-5, 9, 3)
    assert args.metric_for_best_model == "accuracy"
    assert said == []
    assert settled(tmp_path, None, learning_rate=7e-5)[0].learning_rate == 7e-5  # a caller in Python chose everything


@pytest.mark.parametrize(
    ("rows", "problem", "epochs"),
    [
        (32, SINGLE, 20),
        (500, SINGLE, 8),
        (2000, SINGLE, 4),
        (8496, SINGLE, 2),
        (8496, REGRESSION, 3),
        (10**6, SINGLE, 2),
    ],
)
def test_small_sets_are_seen_more_often(tmp_path: Path, rows: int, problem: str, epochs: int) -> None:
    assert settled(tmp_path, set(), rows=rows, problem_type=problem)[0].num_train_epochs == epochs
    with_lora = settled(tmp_path, set(), rows=rows, problem_type=problem, use_peft=True)[0].num_train_epochs
    assert with_lora == max(3, epochs)


@pytest.mark.parametrize(
    ("parameters", "use_peft", "rate"),
    [(22e6, False, 1e-4), (110e6, False, 2e-5), (22e6, True, 1e-3), (135e6, True, 1e-3), (7e9, True, 2e-4)],
)
def test_the_rate_fits_the_size(tmp_path: Path, parameters: float, use_peft: bool, rate: float) -> None:
    assert settled(tmp_path, set(), parameters=int(parameters), use_peft=use_peft)[0].learning_rate == rate


def test_sgd_gets_momentum_and_its_own_rate(tmp_path: Path) -> None:
    args, _ = settled(tmp_path, {"optim"}, optim="sgd")
    assert (args.learning_rate, args.optim_args) == (2e-2, "momentum=0.9")
    args, _ = settled(tmp_path, {"optim", "optim_args"}, optim="sgd", optim_args="momentum=0.5")
    assert args.optim_args == "momentum=0.5"


@pytest.mark.parametrize(
    ("metric", "greater"),
    [("rmse", False), ("eval_mae", False), ("eval_loss", False), ("r2", True), ("eval_pearson", True)],
)
@pytest.mark.parametrize("explicit", [None, {"metric_for_best_model"}])
def test_the_direction_of_the_best_checkpoint_follows_from_the_metric(
    metric: str, greater: bool, explicit: set[str] | None, tmp_path: Path
) -> None:
    args = TrainingArguments(output_dir=str(tmp_path), use_cpu=True, metric_for_best_model=metric)
    setup.check_metric_name(args, REGRESSION, explicit)
    assert args.greater_is_better is greater


def test_a_plateau_of_the_learning_rate_is_one_of_the_metric(tmp_path: Path) -> None:
    plateau: dict[str, Any] = {"lr_scheduler_type": "reduce_lr_on_plateau", "eval_strategy": "epoch", "use_cpu": True}
    args = TrainingArguments(output_dir=str(tmp_path), metric_for_best_model="f1_macro", **plateau)
    setup.check_metric_name(args, SINGLE)
    assert args.lr_scheduler_kwargs == {"mode": "max"}
    args = TrainingArguments(
        output_dir=str(tmp_path), metric_for_best_model="rmse", lr_scheduler_kwargs={"mode": "max"}, **plateau
    )
    with pytest.raises(
        ConfigError, match=r"^--lr_scheduler_kwargs: mode max contradicts --metric_for_best_model rmse, of wh"
    ):
        setup.check_metric_name(args, REGRESSION)


def test_a_direction_that_contradicts_the_chosen_metric_is_refused(tmp_path: Path) -> None:
    args, _ = settled(tmp_path, {"greater_is_better"}, problem_type=REGRESSION, greater_is_better=True)
    with pytest.raises(
        ConfigError, match=r"^--greater_is_better True contradicts --metric_for_best_model rmse, of which less"
    ):
        setup.check_metric_name(args, REGRESSION, {"greater_is_better"})
    args, _ = settled(tmp_path, {"greater_is_better"}, problem_type=REGRESSION, greater_is_better=False)
    setup.check_metric_name(args, REGRESSION, {"greater_is_better"})


def test_the_metric_of_one_of_several_tasks_has_its_direction(tmp_path: Path) -> None:
    args = TrainingArguments(output_dir=str(tmp_path), use_cpu=True, metric_for_best_model="eval_score_mae")
    assert setup.check_measured(args, ["mean", "mood_f1_macro", "score_mae"]) == "score_mae"
    assert args.greater_is_better is False
