"""Meta-learn an initialisation that adapts to new tasks from a few rows: MAML, FOMAML, ANIL, Reptile, prototypes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from nlp_ft.augment.arguments import AugmentArguments
from nlp_ft.config import (
    DataArguments,
    FitArguments,
    FreezeArguments,
    HubArguments,
    LongTextArguments,
    LoraArguments,
    ModelArguments,
)
from nlp_ft.errors import ConfigError

if TYPE_CHECKING:
    from torch import nn
    from transformers import TrainingArguments

    from nlp_ft.jobs import Settings
    from nlp_ft.methods._meta import MetaLearner
    from nlp_ft.methods._meta_episodes import EpisodeDataset, Tasks
    from nlp_ft.methods._meta_report import Arm
    from nlp_ft.report import RunReport


@dataclass(kw_only=True)
class MetaArguments:
    """Meta: the data sets that tasks are drawn from, and how the initialisation learns to adapt to them."""

    lacks: ClassVar = {
        AugmentArguments: "episodes are drawn from the rows as they are; augment in the finetune that follows",
        HubArguments: "an initialisation is no classifier yet; finetune from it, and push that",
        LongTextArguments: "long texts are cut here; finetune and transfer read them in windows",
    }

    meta_train_file: list[str] = field(
        metadata={"help": "Data sets of texts with classes, a file each, to draw the tasks from that it learns on."}
    )
    meta_test_file: list[str] | None = field(
        default=None,
        metadata={"help": "Data sets it is judged on; they share no file and no text with --meta_train_file."},
    )
    meta_test_classes: list[str] | None = field(
        default=None,
        metadata={"help": "Where there is no --meta_test_file: classes that are held out to judge by, two or more."},
    )
    algorithm: Literal["maml", "fomaml", "anil", "reptile", "proto"] = field(
        default="fomaml",
        metadata={
            "help": "maml (second order, Finn et al. 2017), fomaml (its first-order form), anil (adapts the head alone), "
            "reptile (Nichol et al. 2018), or proto (prototypical networks, Snell et al. 2017)."
        },
    )
    ways: int = field(default=2, metadata={"help": "Classes in an episode; all of them where a data set has fewer."})
    shots: int = field(default=8, metadata={"help": "Rows of each class that an episode adapts to."})
    query: int = field(default=8, metadata={"help": "Rows of each class that it is judged by."})
    inner_steps: int = field(
        default=3, metadata={"help": "Steps of adapting; the test measures 0, these, and twice these."}
    )
    inner_learning_rate: float = field(default=0.1, metadata={"help": "Rate of the inner steps for the encoder."})
    head_learning_rate: float = field(
        default=0.05, metadata={"help": "Rate of the inner steps for the head, which starts at zero in each episode."}
    )
    test_episodes: int = field(default=200, metadata={"help": "Held-out episodes that all starts are compared on."})

    def __post_init__(self) -> None:
        """Check the values. Raises: ConfigError."""
        least = {"ways": 2, "shots": 1, "query": 1, "inner_steps": 2 if self.algorithm == "reptile" else 1}
        for name, value in {**least, "test_episodes": 2}.items():
            if getattr(self, name) < value:
                raise ConfigError(f"--{name} must be at least {value}, got {getattr(self, name)}.")
        for name in ("inner_learning_rate", "head_learning_rate"):
            if not 0 < getattr(self, name) < float("inf"):
                raise ConfigError(f"--{name} must be above 0, got {getattr(self, name)}.")
        if (self.meta_test_file is None) == (self.meta_test_classes is None):
            came = "neither" if self.meta_test_file is None else "both"
            raise ConfigError(f"give --meta_test_file or --meta_test_classes, one of the two; {came} came.")


ARGUMENTS = (ModelArguments, DataArguments, LoraArguments, FreezeArguments, FitArguments, MetaArguments)

_FILES = "data sets are named by --meta_train_file and --meta_test_file"
_UPDATES = "--max_steps counts the updates, and the last one is saved: nothing is chosen by a validation split"
_TWICE = "the inner steps are differentiated, which it does not go with"
_HEAD = "every episode has a head of its own, which starts at zero"
_MEANINGLESS = {
    **dict.fromkeys(("train_file", "validation_file", "test_file", "dataset_name", "dataset_config_name"), _FILES),
    **dict.fromkeys(("train_split_name", "validation_split_name", "test_split_name", "mixing"), _FILES),
    **dict.fromkeys(("validation_split_size", "test_split_size", "num_folds", "group_column", "time_column"), _FILES),
    **dict.fromkeys(("max_train_samples", "max_eval_samples", "max_predict_samples"), "episodes draw their rows"),
    "allow_leakage": "held-out tasks whose texts were trained on would show nothing",
    **dict.fromkeys(("num_train_epochs", "load_best_model_at_end", "metric_for_best_model"), _UPDATES),
    **dict.fromkeys(("early_stopping_patience", "early_stopping_threshold"), _UPDATES),
    **dict.fromkeys(
        ("class_weights", "label_smoothing_factor"), "an episode has as many rows of one class as of another"
    ),
    "threshold_metric": "only multi-label problems have thresholds, and a row of an episode is of one class",
    "data_seed": "episodes are drawn by --seed",
    "head_start": _HEAD,
    **dict.fromkeys(("gradual_unfreezing", "layerwise_lr_decay", "reinit_layers"), "all layers learn at one rate"),
    "save_adapter_only": "the result is a checkpoint to start from, adapters merged",
    **dict.fromkeys(("gradient_checkpointing", "activation_checkpointing", "torch_compile", "fp16", "fsdp"), _TWICE),
}


def run(*arguments: Any, frames: Mapping[str, Any] | None = None) -> RunReport:
    """Data sets, held-out test of the plain checkpoint, meta-training, the same test again, a control if asked for, report.

    arguments: as `flags.parse(*ARGUMENTS)` returns them. frames: not taken; tasks are read from files.
    """
    from nlp_ft import preparing
    from nlp_ft.jobs import Settings
    from nlp_ft.methods import _meta_report, _meta_training
    from nlp_ft.methods._meta_episodes import read_tasks
    from nlp_ft.report import say

    settings = Settings.of("meta", arguments)
    _check(settings, frames)
    preparing.prepare(settings.training, settings.given)
    own = settings.own
    tasks = read_tasks(own, settings.data)
    start = _meta_training.make_encoder(settings)
    args, chosen = _meta_training.settle(settings, start.encoder)
    learning, test = _meta_training.episodes(tasks, start, settings, args)
    notes = [*tasks.notes, *learning.notes, *test.notes, *start.notes, *chosen]
    for note in notes:
        say(note)
    learner = _learner(start.encoder, own)
    say(f"meta-test of the plain checkpoint: {own.test_episodes} episodes")
    plain = _meta_report.measure(learner, test, args.device)
    trained = _meta_training.train(learner, learning, args, _meta_training.identity(settings, args, tasks))
    say(f"meta-test of the initialisation: {own.test_episodes} episodes")
    arms = [
        _meta_report.Arm("meta", f"meta-learned ({own.algorithm})", _meta_report.measure(learner, test, args.device)),
        _meta_report.Arm("plain", "the plain checkpoint", plain),
    ]
    if settings.fit.with_control:
        arms.append(_control(settings, tasks, learning, test, args))
    return _meta_report.finish(start, trained, arms, test, settings.to_dict(args), notes, tasks, settings.given)


def _learner(encoder: nn.Module, own: MetaArguments) -> MetaLearner:
    from nlp_ft.methods._meta import MetaLearner

    return MetaLearner(encoder, own.algorithm, own.inner_steps, own.inner_learning_rate, own.head_learning_rate)


def _control(
    settings: Settings, tasks: Tasks, learning: EpisodeDataset, test: EpisodeDataset, args: TrainingArguments
) -> Arm:
    """Ordinary multi-task training on the same rows, then the same test."""
    from nlp_ft.methods import _meta_report, _meta_training
    from nlp_ft.methods._meta import MultiTask
    from nlp_ft.report import say

    own = settings.own
    say("control: multi-task training on the same rows, a linear head for each data set")
    start = _meta_training.make_encoder(settings)
    control = MultiTask(start.encoder, start.width, [len(pool.labels) for pool in tasks.train])
    _meta_training.train_control(control, learning, args, _meta_training.identity(settings, args, tasks))
    say(f"meta-test of the control: {own.test_episodes} episodes")
    found = _meta_report.measure(_learner(start.encoder, own), test, args.device)
    return _meta_report.Arm("multitask", "multi-task training", found)


def _check(settings: Settings, frames: Mapping[str, Any] | None) -> None:
    """Refuse what means nothing here. Raises: ConfigError."""
    if frames is not None:
        raise ConfigError("meta takes no data frames; name files by --meta_train_file and --meta_test_file.")
    for name in sorted(settings.given or ()):
        if name in _MEANINGLESS:
            raise ConfigError(f"--{name} means nothing to meta: {_MEANINGLESS[name]}.")
    order = settings.training.train_sampling_strategy
    if "train_sampling_strategy" in (settings.given or ()) and order != "sequential":
        raise ConfigError(
            "--train_sampling_strategy means nothing to meta: episodes are drawn by --seed, in one order."
        )
    attention = settings.model.attn_implementation
    if settings.own.algorithm == "maml" and attention not in (None, "eager"):
        raise ConfigError(
            f"--attn_implementation {attention}: --algorithm maml differentiates twice, which only eager attention can; "
            "leave the flag out."
        )
