"""Arguments of `nlp-ft transfer`."""

from __future__ import annotations

from dataclasses import dataclass, field

from nlp_ft.errors import ConfigError


@dataclass(kw_only=True)
class TransferArguments:
    """Transfer: the sources, and numbers of target rows to measure the gain for."""

    source_file: list[str] | None = field(
        default=None,
        metadata={"help": "Labelled rows of a source domain to fine-tune on first; several files are several sources."},
    )
    source_name_or_path: list[str] | None = field(
        default=None, metadata={"help": "Checkpoints that are already fine-tuned on a source domain."}
    )
    source_text_column_names: str | None = field(
        default=None, metadata={"help": "Text column of the source files (default: that of the target)."}
    )
    source_label_column_name: str | None = field(
        default=None, metadata={"help": "Label column of the source files (default: that of the target)."}
    )
    transfer_shots: list[int] = field(
        default_factory=lambda: [16, 64, 256],
        metadata={
            "help": "Numbers of target rows for which the gain is measured, with and without the source; 0: none. Several "
            "sources are ranked by it."
        },
    )

    def __post_init__(self) -> None:
        """Check the values. Raises: ConfigError."""
        if not self.source_file and not self.source_name_or_path:
            raise ConfigError("--source_file or --source_name_or_path is needed: what to transfer from.")
        if any(shots < 0 for shots in self.transfer_shots):
            raise ConfigError(f"--transfer_shots must be at least 0, got {min(self.transfer_shots)}.")
        self.transfer_shots = sorted({shots for shots in self.transfer_shots if shots})
