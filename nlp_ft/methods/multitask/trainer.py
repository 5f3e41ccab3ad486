"""One body under several heads: the model, its loss, and the trainer of both."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.data import Sampler
from transformers import PreTrainedModel, TrainerCallback
from transformers.modeling_outputs import SequenceClassifierOutput

from nlp_ft.methods.multitask.sampler import TaskSampler
from nlp_ft.training.losses import ClassifierLoss
from nlp_ft.training.trainer import ClassifierTrainer

_VARIANCE_RATE = 1e-2  # the learning rate of log variances: at the encoder's they would stay where they start


class MultiTask(nn.Module):
    """Stock classifiers that all have the same module as their body; a row of a batch goes to the one of its task.

    Body and heads are registered once; the classifiers themselves are not, so no weight counts or is saved twice.

    Args:
        classifiers: one a task, in the order of the tasks; their bodies are replaced by the first one's, in place.
        uncertainty: whether each task gets a learned log variance (`UncertaintyLoss` reads them).
    """

    accepts_loss_kwargs = False  # Trainer: forward takes no num_items_in_batch

    def __init__(self, classifiers: Sequence[PreTrainedModel], *, uncertainty: bool = False) -> None:
        super().__init__()
        prefix = classifiers[0].base_model_prefix
        self.body: Any = getattr(classifiers[0], prefix)
        for classifier in classifiers[1:]:
            setattr(classifier, prefix, self.body)
        self.heads = nn.ModuleList(
            nn.ModuleDict({name: child for name, child in one.named_children() if name != prefix})
            for one in classifiers
        )
        self.classifiers = tuple(classifiers)  # a tuple is not registered
        self.width = max(one.config.num_labels or 1 for one in classifiers)
        self.log_variances = nn.Parameter(torch.zeros(len(classifiers))) if uncertainty else None

    def forward(
        self,
        input_ids: Tensor,
        attention_mask: Tensor,
        task: Tensor,
        token_type_ids: Tensor | None = None,
        labels: None = None,
    ) -> SequenceClassifierOutput:
        """Logits (rows, most outputs of a task), zero behind those of a row's own task. task: (rows,) numbers of tasks.

        While training, parameters that no row of the batch needs take part with a zero, so that each process has a gradient
        of each. labels: never given; Trainer learns from the name that there are some.
        """
        logits = torch.zeros(len(task), self.width, device=task.device)
        for number, classifier in enumerate(self.classifiers):
            rows = (task == number).nonzero().flatten()
            if len(rows):
                found = classifier(**_cut(rows, input_ids, attention_mask, token_type_ids)).logits.float()
                logits = logits.index_add(0, rows, functional.pad(found, (0, self.width - found.shape[1])))
        if self.training:
            present = set(task.tolist())
            absent = [head for number, head in enumerate(self.heads) if number not in present]
            idle = [p for head in absent for p in head.parameters() if p.requires_grad]
            idle += [] if self.log_variances is None else [self.log_variances]
            logits = logits + sum((p.float().sum() * 0 for p in idle), torch.zeros((), device=logits.device))
        return SequenceClassifierOutput(logits=logits)  # type: ignore[arg-type]

    def activation_checkpointing_enable(self, **kwargs: Any) -> None:
        """Trainer's --activation_checkpointing, for the body."""
        self.classifiers[0].activation_checkpointing_enable(**kwargs)


def _cut(rows: Tensor, input_ids: Tensor, attention_mask: Tensor, token_type_ids: Tensor | None) -> dict[str, Tensor]:
    """These rows of a batch, without the columns that are padding in all of them, on whichever side."""
    used = attention_mask[rows].any(dim=0).nonzero().flatten()
    part = slice(int(used[0]), int(used[-1]) + 1) if len(used) else slice(None)
    inputs = {"input_ids": input_ids, "attention_mask": attention_mask, "token_type_ids": token_type_ids}
    return {name: tensor[rows][:, part] for name, tensor in inputs.items() if tensor is not None}


class TaskKind(NamedTuple):
    """What a task's answers look like: one of config.PROBLEM_TYPES, and the outputs of its head."""

    problem_type: str
    outputs: int

    def own(self, logits: Any, labels: Any) -> tuple[Any, Any]:
        """Logits and labels of this task's rows in their own shape and type, out of the common ones; tensors or arrays."""
        if self.problem_type == "single_label_classification":
            ids = labels[:, 1]
            return logits[:, : self.outputs], ids.long() if isinstance(ids, Tensor) else ids.astype(np.int64)
        cells = labels[:, 1 : self.outputs + 1]
        return logits[:, : self.outputs], cells[:, 0] if self.problem_type == "regression" else cells


class MultiTaskLoss(ClassifierLoss):
    """Sum over the rows of weight * row loss of its task / rows of the whole accumulated, distributed batch.

    Labels are (rows, 1 + width): the number of the row's task, then its label as that task has it, filled up with zeros.

    Args:
        losses: of each task; kinds: likewise.
        scales: what the row losses of each task are divided by. Squared errors: the variance of the training targets, so that
            a task whose numbers are large does not drown the others and starts near 1, as cross-entropy does.
        weights: of each task's rows.
    """

    def __init__(
        self,
        losses: Sequence[ClassifierLoss],
        kinds: Sequence[TaskKind],
        scales: Sequence[float],
        weights: Sequence[float],
    ) -> None:
        super().__init__("several tasks")
        self.losses, self.kinds = list(losses), list(kinds)
        self.factors = [weight / scale for weight, scale in zip(weights, scales, strict=True)]

    def row_losses(self, logits: Tensor, labels: Tensor) -> Tensor:
        """The weighted loss of each row, (rows,)."""
        tasks = labels[:, 0].long()
        found = torch.zeros(len(labels), device=logits.device)
        for number, (loss, kind, factor) in enumerate(zip(self.losses, self.kinds, self.factors, strict=True)):
            rows = (tasks == number).nonzero().flatten()
            if len(rows):
                found = found.index_add(0, rows, loss.row_losses(*kind.own(logits[rows], labels[rows])) * factor)
        return found


class UncertaintyLoss(MultiTaskLoss):
    """Weights that are learned: exp(-s) * loss + s / 2 a row, where s is the task's log variance; squared errors count half.

    This is the negative log-likelihood of a row (Kendall, Gal & Cipolla 2018, arXiv:1705.07115, section 3.2). Over s it is
    least at log(2 * loss), for squared errors at log(loss): what is learned well weighs more. Evaluation measures the losses
    as they are, so that checkpoints can be compared.
    """

    def __init__(
        self,
        losses: Sequence[ClassifierLoss],
        kinds: Sequence[TaskKind],
        scales: Sequence[float],
        log_variances: nn.Parameter,
    ) -> None:
        super().__init__(losses, kinds, scales, [0.5 if kind.problem_type == "regression" else 1.0 for kind in kinds])
        self.log_variances = log_variances

    def __call__(self, outputs: Any, labels: Tensor, num_items_in_batch: Tensor | int | None = None) -> Tensor:
        """Sum over the rows / num_items_in_batch; their mean where that is None."""
        spread = self.log_variances[labels[:, 0].long()]
        rows = torch.exp(-spread) * self.row_losses(outputs["logits"], labels) + spread / 2
        items = len(rows) if num_items_in_batch is None else num_items_in_batch
        return rows.sum() / (items.to(rows.device) if isinstance(items, Tensor) else items)


class Collator:
    """Pads tokens as the given collator does, and labels to a common width; the number of the task goes to the model, too."""

    def __init__(self, pad: Callable[[list[dict[str, Any]]], Any], width: int) -> None:
        self.pad, self.width = pad, width

    def __call__(self, rows: list[dict[str, Any]]) -> dict[str, Tensor]:
        """`labels` of a row: the number of its task, then its label's cells."""
        cells = [row["labels"] + [0.0] * (1 + self.width - len(row["labels"])) for row in rows]
        batch = dict(self.pad([{name: value for name, value in row.items() if name != "labels"} for row in rows]))
        labels = torch.tensor(cells, dtype=torch.float32)
        return {**batch, "labels": labels, "task": labels[:, 0].long()}


class MultiTaskTrainer(ClassifierTrainer):
    """ClassifierTrainer with the sampler of tasks, and log variances at a rate of their own."""

    task_sampler: TaskSampler

    def __init__(
        self, *, scores: Callable[[Any], dict[str, float]], sampler: TaskSampler, width: int, **kwargs: Any
    ) -> None:
        kwargs |= {"compute_metrics": scores, "data_collator": Collator(kwargs["data_collator"], width)}
        super().__init__(**kwargs)
        self.task_sampler = sampler
        self.add_callback(_EpochOfSampler(sampler))

    def _get_train_sampler(self, train_dataset: Any = None) -> Sampler[int]:
        return self.task_sampler

    def create_optimizer(self, model: Any = None) -> torch.optim.Optimizer:
        """Log variances: no decay, which would pull all weights towards 1, and a rate at which they arrive somewhere."""
        optimizer = super().create_optimizer(model)
        variances = getattr(self.model, "log_variances", None)
        if variances is not None:
            for group in optimizer.param_groups:
                group["params"] = [p for p in group["params"] if p is not variances]
            own = {"params": [variances], "lr": _VARIANCE_RATE, "weight_decay": 0.0}
            optimizer.add_param_group({**optimizer.param_groups[0], **own})
        return optimizer


class _EpochOfSampler(TrainerCallback):
    """accelerate's set_epoch does not reach the sampler where several processes go on in the middle of an epoch."""

    def __init__(self, sampler: TaskSampler) -> None:
        self.sampler = sampler

    def on_epoch_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """state.epoch: passes done, with a fraction where a run goes on in the middle of one."""
        self.sampler.set_epoch(math.floor((state.epoch or 0) + 1e-6))
