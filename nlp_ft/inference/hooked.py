"""Models with a hook, over the weights of a model that other threads use.

A hook on a shared module sees the calls of all threads. So the module tree is copied, its tensors are not, and the hook goes
onto the copy, once; what it collects or puts in belongs to the thread that calls.
"""

from __future__ import annotations

import copy
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from itertools import chain

import torch
from torch import nn

Replacement = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]  # (ids, their embeddings) -> other embeddings


def copy_over_same_tensors(model: nn.Module, parts: Sequence[nn.Module]) -> tuple[nn.Module, list[nn.Module]]:
    """Copy a module tree over the same parameters and buffers.

    parts: modules within it. Returns: the copy, and the parts' places in it.
    """
    memo: dict[int, object] = {id(tensor): tensor for tensor in chain(model.parameters(), model.buffers())}
    if (config := getattr(model, "config", None)) is not None:
        memo[id(config)] = config
    copied = copy.deepcopy(model, memo)
    copied_parts = [memo[id(part)] for part in parts]
    return copied, [part for part in copied_parts if isinstance(part, nn.Module)]


class RecordingModel:
    """A model that keeps the inputs of one layer, for the thread that calls."""

    def __init__(self, model: nn.Module, layer: nn.Module) -> None:
        self.model, (copied,) = copy_over_same_tensors(model, [layer])
        self._of_thread = threading.local()
        copied.register_forward_pre_hook(self._keep)

    def _keep(self, _: nn.Module, inputs: tuple[torch.Tensor, ...]) -> None:
        self._of_thread.inputs = inputs[0]

    def taken(self) -> torch.Tensor:
        """The layer's inputs in this thread's last call."""
        inputs: torch.Tensor = self._of_thread.inputs
        del self._of_thread.inputs
        return inputs


class ReplacingModel:
    """A model whose embeddings can be replaced, for the thread that calls."""

    def __init__(self, model: nn.Module, embeddings: Sequence[nn.Module]) -> None:
        self.model, copied = copy_over_same_tensors(model, embeddings)
        self._of_thread = threading.local()
        for embedding in copied:
            embedding.register_forward_hook(self._replace)

    def _replace(self, _: nn.Module, inputs: tuple[torch.Tensor, ...], output: torch.Tensor) -> torch.Tensor | None:
        replacement: Replacement | None = getattr(self._of_thread, "replacement", None)
        return None if replacement is None else replacement(inputs[0], output)

    @contextmanager
    def replacing(self, replacement: Replacement) -> Iterator[nn.Module]:
        """Context: `replacement` gives this thread's embeddings.

        Yields the model to call.
        """
        self._of_thread.replacement = replacement
        try:
            yield self.model
        finally:
            del self._of_thread.replacement
