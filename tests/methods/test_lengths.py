"""A length that special tokens fill is refused by every method, as one that the checkpoint does not hold is."""

from __future__ import annotations

from pathlib import Path

import pytest
from test_contract import METHODS, argv_of, cli, world_of


@pytest.mark.parametrize("length", [1, 2])
@pytest.mark.parametrize("method", METHODS)
def test_a_length_without_room_for_text_is_refused_before_training(
    method: str, length: int, tiny_bert: Path, learner: Path, tmp_path: Path
) -> None:
    argv = [*argv_of(method, world_of(tmp_path / "world", tiny_bert, learner)), "--use_cpu"]
    told = cli(method, [*argv, "--max_seq_length", str(length)], tmp_path / "run", code=2)
    assert f"--max_seq_length {length}: 2 special tokens leave no room for the text; it must be at least 3." in told
    assert "cut to" not in told
    assert not (tmp_path / "run" / "model.safetensors").exists()
