"""Flags, YAML and defaults: what reaches the dataclasses, and what is refused with which words."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from transformers import TrainingArguments

from nlp_ft.config import DataArguments, FitArguments, LoraArguments, ModelArguments
from nlp_ft.config.flags import REFUSED, REPLACED, flags_of, training_flags
from nlp_ft.config.parser import TRAINING_DEFAULTS, all_flags, parse
from nlp_ft.config.yaml_file import read_mapping, read_settings
from nlp_ft.errors import ConfigError

CLASSES = (ModelArguments, DataArguments, LoraArguments, FitArguments)
NEEDED = ["--model_name_or_path", "m", "--train_file", "t.csv", "--output_dir", "o", "--use_cpu"]
WriteYaml = Callable[..., str]


def parsed(*argv: str) -> tuple[Any, ...]:
    """(model, data, lora, fit, training, given) of a command line."""
    return parse(*CLASSES, argv=[*NEEDED, *argv])


def refusal(*argv: str) -> str:
    """The message with which a command line is refused."""
    with pytest.raises(ConfigError) as caught:
        parsed(*argv)
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.fixture
def write_yaml(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> WriteYaml:
    monkeypatch.chdir(tmp_path)

    def write(text: str, name: str = "a.yaml") -> str:
        Path(name).write_text(text, encoding="utf-8")
        return name

    return write


# ---- what TrainingArguments says of itself, read without importing it


def test_the_flags_read_off_the_source_are_the_fields_of_training_arguments() -> None:
    fields = {field.name: field for field in dataclasses.fields(TrainingArguments) if field.init}
    assert [flag.name for flag in training_flags()] == list(fields)


def test_the_defaults_read_off_the_source_are_those_of_training_arguments() -> None:
    with_default = (f for f in dataclasses.fields(TrainingArguments) if f.default is not dataclasses.MISSING)
    fields = {field.name: field.default for field in with_default}
    differing = {
        flag.name: (flag.default, fields[flag.name])
        for flag in training_flags()
        if flag.default != fields.get(flag.name)
    }
    assert differing == {"optim": (None, TrainingArguments.default_optim)}  # computed, by the version of torch


def test_every_training_default_is_a_training_argument() -> None:
    assert {flag.name for flag in training_flags()} >= TRAINING_DEFAULTS.keys()


def test_no_flag_is_both_known_and_replaced() -> None:
    assert not {flag.name for flag in all_flags(CLASSES)} & REPLACED.keys()


def test_no_two_classes_have_a_flag_of_one_name() -> None:
    names = [flag.name for flag in all_flags(CLASSES)]
    assert len(names) == len(set(names))


# ---- the command line


def test_hyphens_and_underscores_spell_the_same_flag() -> None:
    *_, training, given = parsed("--learning-rate", "3e-4")
    assert training.learning_rate == 3e-4
    assert "learning_rate" in given


def test_an_equals_sign_separates_flag_and_value() -> None:
    assert parsed("--learning_rate=3e-4")[4].learning_rate == 3e-4


def test_the_last_of_two_values_wins() -> None:
    assert parsed("--seed", "1", "--seed", "2")[4].seed == 2


def test_a_value_may_begin_with_a_dash() -> None:
    assert parsed("--label_column_name=--label", "--text_column_names", "-text")[1].label_column_name == "--label"
    assert refusal("--dropout", "-1e-1") == "--dropout must be at least 0 and below 1, got -0.1."


def test_a_switch_is_on_by_its_name_and_off_by_no() -> None:
    assert parsed("--use_peft")[2].use_peft is True
    assert parsed()[4].load_best_model_at_end is True
    assert parsed("--no_load_best_model_at_end")[4].load_best_model_at_end is False
    assert parsed("--no-load-best-model-at-end")[4].load_best_model_at_end is False
    assert parsed("--disable_tqdm")[4].disable_tqdm is True  # a `bool | None` of TrainingArguments
    assert "load_best_model_at_end" in parsed("--no_load_best_model_at_end")[5]


def test_no_in_front_of_a_flag_that_is_no_switch_is_unknown() -> None:
    assert refusal("--no_learning_rate") == "unknown flag '--no_learning_rate'. Did you mean '--learning_rate'?"


def test_a_list_takes_several_values() -> None:
    assert parsed("--use_peft", "--lora_target_modules", "query", "value")[2].lora_target_modules == ["query", "value"]


def test_an_unknown_flag_names_the_nearest_one() -> None:
    assert refusal("--learning_rat", "1") == "unknown flag '--learning_rat'. Did you mean '--learning_rate'?"


def test_the_nearest_flag_is_never_a_refused_one() -> None:
    assert refusal("--tokn", "x") == "unknown flag '--tokn'."


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (["--learning_rate"], "--learning_rate needs a value."),
        (["--learning_rate", "1", "2"], "--learning_rate takes one value, got 2: 1 2."),
        (["--learning_rate=1", "2"], "unexpected argument '2'; a flag begins with --."),
        (["--learning_rate", "fast"], "--learning_rate: invalid float value: 'fast'."),
        (
            ["--pooling", "median"],
            "--pooling: invalid choice: 'median' (choose from 'auto', 'stock', 'mean', 'cls', 'last', 'max').",
        ),
        (["--config"], "--config needs the path of a YAML file."),
        (["--use_dora"], "--use_dora needs --use_peft."),
        (["--dropout", "nan"], "--dropout must be at least 0 and below 1, got nan."),
        (["--lora_r", "0"], "--lora_r must be at least 1, got 0."),
        (["--max_train_samples", "0"], "--max_train_samples must be at least 1, got 0."),
        (["--test_split_size", "1"], "--test_split_size must be between 0 and 1, got 1.0."),
        (["--dataset_name", "imdb"], "give --train_file or --dataset_name, one of the two; both came."),
        (["--per_device_train_batch_size", "0"], "--per_device_train_batch_size must be at least 1, got 0."),
        (["--gradient_accumulation_steps", "0"], "--gradient_accumulation_steps must be at least 1, got 0."),
        (["--learning_rate", "nan"], "--learning_rate must be at least 0, got nan."),
        (["--learning_rate", "inf"], "--learning_rate must be at least 0, got inf."),
        (["--num_train_epochs", "0"], "--num_train_epochs must be above 0, got 0.0."),
        (["--seed", "-1"], "--seed must be at least 0, got -1."),
        (["--do_predict", "false"], "--do_predict false: a run always trains, validates and tests."),
        (
            ["--early_stopping_patience", "2", "--eval_strategy", "no"],
            "--early_stopping_patience needs an --eval_strategy, and --load_best_model_at_end.",
        ),
        (["--report_to", "wandb"], "--report_to wandb: not installed; there is none."),
        (["--optim_args", "momentum"], "--optim_args momentum: wanted name=value, several with commas between."),
        (
            ["--optim", "sgd", "--optim_args", "momentm=0.9"],
            "--optim_args momentm: --optim sgd takes no such argument.",
        ),
        (["--adam_beta1", "2"], "--optim adamw_torch_fused: Invalid beta parameter at index 0: 2.0"),
        (["--fsdp", "full_shard"], "--fsdp needs several processes; start them with accelerate launch."),
        (
            ["--lr_scheduler_type", "cosine_with_min_lr"],
            "--lr_scheduler_type cosine_with_min_lr, --lr_scheduler_kwargs: One of min_lr or min_lr_rate should be set "
            "through the `lr_scheduler_kwargs`",
        ),
    ],
)
def test_a_value_that_cannot_serve_is_refused_in_these_words(argv: list[str], message: str) -> None:
    assert refusal(*argv) == message


def test_an_optimizer_that_is_not_installed_is_one_line() -> None:
    assert refusal("--optim", "adamw_bnb_8bit").startswith("--optim adamw_bnb_8bit: You need to install `bitsandbytes`")


def test_sgd_with_momentum_and_a_scheduler_with_options_pass() -> None:
    training = parsed(
        *("--optim", "sgd", "--optim_args", "momentum=0.9"),
        *("--lr_scheduler_type", "polynomial", "--lr_scheduler_kwargs", '{"power": 2}'),
    )[4]
    assert training.optim_args == "momentum=0.9"
    assert training.lr_scheduler_kwargs == {"power": 2}


@pytest.mark.parametrize("missing", ["model_name_or_path", "output_dir"])
def test_a_missing_required_flag_is_named_with_its_meaning(missing: str) -> None:
    i = NEEDED.index(f"--{missing}")
    with pytest.raises(ConfigError, match=rf"^--{missing} is needed: .*\.$"):
        parse(*CLASSES, argv=NEEDED[:i] + NEEDED[i + 2 :])


# ---- names of elsewhere


@pytest.mark.parametrize(
    ("flag", "message"),
    [
        ("warmup_ratio", "use --warmup_steps (a value below 1 is a share of all steps)"),
        ("group_by_length", "use --train_sampling_strategy group_by_length (the default here)"),
        ("logging_dir", "set the environment variable TENSORBOARD_LOGGING_DIR"),
        ("overwrite_output_dir", "name another --output_dir, or remove that directory; nothing is ever written over"),
        ("evaluation_strategy", "use --eval_strategy"),
        ("no_cuda", "use --use_cpu"),
    ],
)
def test_a_removed_flag_is_refused_with_what_replaces_it(write_yaml: WriteYaml, flag: str, message: str) -> None:
    assert refusal(f"--{flag}", "1") == f"--{flag} is no flag any more: {message}."
    assert refusal(f"--{flag.replace('_', '-')}") == f"--{flag.replace('_', '-')} is no flag any more: {message}."
    assert refusal("--config", write_yaml(f"{flag}: 1\n")) == f"a.yaml: {flag} is no flag any more: {message}."


@pytest.mark.parametrize("name", sorted(REPLACED))
def test_what_replaces_a_flag_exists(name: str) -> None:
    known = {flag.name for flag in all_flags(CLASSES)}
    assert set(re.findall(r"--(\w+)", REPLACED[name])) <= known - REFUSED.keys()


@pytest.mark.parametrize("name", sorted(REFUSED))
def test_a_refused_flag_is_refused_on_the_command_line_and_in_yaml(write_yaml: WriteYaml, name: str) -> None:
    assert refusal(f"--{name}", "other") == f"--{name} is refused: it {REFUSED[name]}."
    assert refusal("--config", write_yaml(f"{name}: other")) == f"a.yaml: {name} is refused: it {REFUSED[name]}."


def test_a_refused_flag_set_to_what_holds_anyway_is_passed_over(write_yaml: WriteYaml) -> None:
    text = "trust_remote_code: false\nhub_token: null\nremove_unused_columns: true\nhub_strategy: every_save\n"
    *_, given = parsed("--config", write_yaml(text), "--push_to_hub", "False")
    assert not given & REFUSED.keys()


def test_the_secret_of_a_refused_flag_is_not_repeated() -> None:
    assert "hf_secret" not in refusal("--token", "hf_secret")


# ---- YAML


def test_yaml_wins_over_defaults_and_the_command_line_over_yaml(write_yaml: WriteYaml) -> None:
    path = write_yaml("learning_rate: 1e-3\nweight_decay: 0.5\n")
    training = parsed("--learning_rate", "2e-3", "--config", path)[4]
    assert (training.learning_rate, training.weight_decay, training.warmup_steps) == (2e-3, 0.5, 0.1)


def test_the_later_of_two_files_wins(write_yaml: WriteYaml) -> None:
    one, two = write_yaml("seed: 1\nlora_r: 4\n", "one.yaml"), write_yaml("seed: 2\n", "two.yaml")
    for argv in (["--config", one, "--config", two], ["--config", one, two], [f"--config={one}", f"--config={two}"]):
        _, _, lora, _, training, _ = parsed(*argv)
        assert (training.seed, lora.lora_r) == (2, 4)


def test_scalars_arrive_as_they_are_written(write_yaml: WriteYaml) -> None:
    text = (
        "learning_rate: 2e-5\nload_best_model_at_end: no\neval_strategy: no\nmodel_revision: 1.10\n"
        "label_column_name: yes\ntext_column_names: 'null'\nmax_steps: 1_000\n"
    )
    model, data, _, _, training, _ = parsed("--config", write_yaml(text))
    assert training.learning_rate == 2e-5
    assert training.load_best_model_at_end is False
    assert training.eval_strategy == "no"
    assert training.max_steps == 1000
    assert (model.model_revision, data.label_column_name, data.text_column_names) == ("1.10", "yes", "null")


def test_lists_mappings_and_null_arrive(write_yaml: WriteYaml) -> None:
    text = (
        "use_peft: true\nlora_target_modules: [query, value]\nlr_scheduler_type: cosine_with_min_lr\n"
        "lr_scheduler_kwargs:\n  min_lr: 1e-6\ndropout: null\nseed:\nclass_weights: {no: 5, 'yes': 2e-1}\n"
    )
    model, _, lora, fit, training, given = parsed("--config", write_yaml(text))
    assert lora.lora_target_modules == ["query", "value"]
    assert training.lr_scheduler_kwargs == {"min_lr": 1e-6}
    assert (model.dropout, training.seed) == (None, 42)
    assert fit.class_weights == '{"no": 5, "yes": 0.2}'
    assert not {"dropout", "seed"} & given


def test_a_key_that_stands_twice_inside_a_mapping_is_refused(write_yaml: WriteYaml) -> None:
    path = write_yaml("seed: 1\nclass_weights:\n  spam: 2\n  ham: 1\n  spam: 3\n")
    assert refusal("--config", path) == "a.yaml: key 'spam' stands there twice, in lines 3 and 5."


def test_a_mapping_is_read_from_the_flag_or_from_a_file_of_its_own(write_yaml: WriteYaml) -> None:
    wanted = {"a": {"rate": 2e-5, "name": "2e-5", "off": None, "on": True, "many": ["x", 1]}}
    written = '{"a": {"rate": 2e-5, "name": "2e-5", "off": null, "on": true, "many": ["x", 1]}}'
    assert read_mapping(written, "tasks") == (wanted, "--tasks")
    path = write_yaml("a:\n  rate: 2e-5\n  name: '2e-5'\n  off:\n  on: true\n  many: [x, 1]\n")
    assert read_mapping(path, "tasks") == (wanted, "a.yaml")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("- a\n", "a.yaml: wanted a mapping, got a sequence."),
        ("", "a.yaml: wanted a mapping, got nothing."),
        ("a: {b: 1, b: 2}\n", "a.yaml: key 'b' stands there twice, in lines 1 and 1."),
    ],
)
def test_a_file_that_holds_no_mapping_is_refused_by_name(write_yaml: WriteYaml, text: str, message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        read_mapping(write_yaml(text), "tasks")
    assert str(caught.value) == message


def test_an_empty_file_sets_nothing(write_yaml: WriteYaml) -> None:
    assert parsed("--config", write_yaml("# only a comment\n"))[5] == parsed()[5]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("learning_rat: 1", "a.yaml: unknown key 'learning_rat'. Did you mean 'learning_rate'?"),
        ("learning-rate: 1", "a.yaml: unknown key 'learning-rate'. Did you mean 'learning_rate'?"),
        ("no_use_cpu: true", "a.yaml: unknown key 'no_use_cpu'. Did you mean 'use_cpu'?"),
        ("seed: 1\nlora_r: 2\nseed: 3\n", "a.yaml: key 'seed' stands there twice, in lines 1 and 3."),
        ("- seed\n", "a.yaml: wanted lines of `flag: value`, got a sequence."),
        ("seed 1", "a.yaml: wanted lines of `flag: value`, got a scalar."),
        ("seed: [1, 2]", "a.yaml: seed takes one value, got 2: 1 2."),
        ("lora_target_modules: []", "a.yaml: lora_target_modules needs a value."),
        ("learning_rate: fast", "a.yaml: --learning_rate: invalid float value: 'fast'."),
        ("dropout: 2", "a.yaml: --dropout must be at least 0 and below 1, got 2.0."),
        ("per_device_train_batch_size: 0", "a.yaml: --per_device_train_batch_size must be at least 1, got 0."),
    ],
)
def test_a_fault_in_a_file_names_the_file(write_yaml: WriteYaml, text: str, message: str) -> None:
    assert refusal("--config", write_yaml(text)) == message


def test_a_value_of_the_command_line_is_not_blamed_on_the_file(write_yaml: WriteYaml) -> None:
    assert refusal("--config", write_yaml("dropout: 0.1"), "--dropout", "3") == (
        "--dropout must be at least 0 and below 1, got 3.0."
    )


def test_broken_yaml_is_one_line_with_its_place(write_yaml: WriteYaml) -> None:
    message = refusal("--config", write_yaml("seed: [1\n"))
    assert message.startswith("a.yaml: no valid YAML: ")
    assert "line 2, column 1" in message


def test_a_file_that_cannot_be_read_is_one_line(write_yaml: WriteYaml, tmp_path: Path) -> None:
    write_yaml("seed: 1")
    assert refusal("--config", "b.yaml") == "--config b.yaml: no such file or directory."
    assert refusal("--config", ".") == "--config .: is a directory."
    Path("c.yaml").write_bytes(b"seed: \xff\n")
    assert refusal("--config", "c.yaml") == "c.yaml: not UTF-8."


def test_yaml_runs_no_code(write_yaml: WriteYaml, tmp_path: Path) -> None:
    write_yaml("seed: !!python/object/apply:os.mkdir [made]\n")
    assert refusal("--config", "a.yaml") == "a.yaml: --seed: invalid int value: 'made'."
    assert not (tmp_path / "made").exists()


# ---- defaults that depend on each other


@pytest.mark.parametrize(
    ("argv", "wanted"),
    [
        ([], ("epoch", "epoch", True)),
        (["--eval_strategy", "steps", "--eval_steps", "7"], ("steps", "steps", True)),
        (["--save_strategy", "steps", "--save_steps", "7"], ("steps", "steps", True)),
        (["--save_strategy", "best"], ("epoch", "best", True)),
        (["--eval_strategy", "no"], ("no", "epoch", False)),
        (["--save_strategy", "no"], ("epoch", "no", False)),
    ],
)
def test_saving_and_evaluating_follow_each_other(argv: list[str], wanted: tuple[str, str, bool]) -> None:
    training = parsed(*argv)[4]
    assert (training.eval_strategy, training.save_strategy, training.load_best_model_at_end) == wanted
    if "steps" in wanted:
        assert training.eval_steps == training.save_steps == 7


def test_what_nlp_ft_sets_is_not_among_what_the_user_gave() -> None:
    assert parsed()[5] == {"model_name_or_path", "train_file", "output_dir", "use_cpu"}


def test_half_precision_is_not_chosen_on_the_cpu() -> None:
    assert parsed()[4].bf16 is False


@pytest.mark.parametrize("cls", CLASSES)
def test_every_flag_of_ours_has_one_sentence_of_help(cls: type) -> None:
    for flag in flags_of(cls):
        assert re.fullmatch(r"[A-Zbr].*\.", flag.help), flag.name


def test_settings_keep_their_order_files_first(write_yaml: WriteYaml) -> None:
    found = read_settings(["--seed", "3", "--config", write_yaml("lora_r: 2\nseed: 1\n")], all_flags(CLASSES))
    assert [(s.where, s.name, s.values) for s in found] == [
        ("a.yaml: ", "lora_r", ["2"]),
        ("a.yaml: ", "seed", ["1"]),
        ("", "seed", ["3"]),
    ]
