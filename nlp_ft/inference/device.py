"""The device a classifier runs on where none is named."""

from __future__ import annotations

import os

import torch
from accelerate import PartialState
from accelerate.utils import parse_flag_from_env


def default_device() -> torch.device:
    """The run's device, else the accelerator of this process, else the CPU.

    Asking Accelerate for it would join the process group that RANK and WORLD_SIZE name, and wait for its other members; here
    LOCAL_RANK alone is read.
    """
    if PartialState._shared_state:
        return torch.device(PartialState().device or "cpu")
    accelerator = torch.accelerator.current_accelerator(check_available=True)
    if accelerator is None or parse_flag_from_env("ACCELERATE_USE_CPU"):
        return torch.device("cpu")
    local_rank = os.environ.get("LOCAL_RANK", "0")
    index = int(local_rank) if local_rank.isdigit() else 0
    return torch.device(accelerator.type, index % torch.accelerator.device_count())
