"""Arguments of `nlp-ft meta`."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar, Literal

from nlp_ft.config import AugmentArguments, HubArguments, LongTextArguments
from nlp_ft.errors import ConfigError


@dataclass(kw_only=True)
class MetaArguments:
    """Arguments of meta-learning: the data sets, the episodes and the algorithm."""

    unsupported: ClassVar = {
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
            number = "neither" if self.meta_test_file is None else "both"
            raise ConfigError(f"give --meta_test_file or --meta_test_classes, one of the two; {number} came.")
