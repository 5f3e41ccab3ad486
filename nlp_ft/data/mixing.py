"""Several training sources in one set, in the proportions that were asked for."""

from __future__ import annotations

import hashlib
from collections import Counter

from nlp_ft.data.rows import Rows
from nlp_ft.errors import ConfigError


def mix(rows: Rows, mixing: list[str] | None, seed: int) -> tuple[Rows, list[str]]:
    """The rows of several sources (column `source`) in these proportions.

    Rows are left out, none is repeated.

    mixing: `proportional` (all rows), `equal`, or a share a source, in the order of the sources. The set is as large as
    the source that is shortest of its share allows. Which rows stay is decided by a hash of seed and text.
    Returns: the rows that stay, in file order; and notes. Raises: ConfigError.
    """
    sources = rows.cells("source")
    if sources is None:
        if mixing is not None:
            raise ConfigError("--mixing is for several training files; one came, which has no column 'source' either.")
        return rows, []
    counts = Counter(sources)
    shares = _shares(mixing or ["proportional"], list(counts))
    if shares is None:
        return rows, [f"sources: {', '.join(f'{name} {count} rows' for name, count in counts.items())}"]
    wanted = {name: share for name, share in shares.items() if share > 0}
    size = min(counts[name] / share for name, share in wanted.items())
    quotas = {name: round(size * shares[name]) for name in counts}
    order = sorted(range(len(rows)), key=lambda row: hashlib.sha256(f"{seed}\0".encode() + rows.keys[row]).digest())
    kept = []
    for row in order:
        if quotas[sources[row]] > 0:
            quotas[sources[row]] -= 1
            kept.append(row)
    mixed = Counter(sources[row] for row in kept)
    summary = ", ".join(f"{name} {mixed[name]} of {count} rows" for name, count in counts.items())
    return rows.take(sorted(kept)), [f"sources: {summary} (--mixing {' '.join(mixing or [])}, seed {seed})"]


def _shares(mixing: list[str], sources: list[str]) -> dict[str, float] | None:
    """The share of each source, adding up to 1; None where all rows are taken."""
    if mixing == ["proportional"]:
        return None
    if mixing == ["equal"]:
        return dict.fromkeys(sources, 1 / len(sources))
    try:
        numbers = [float(number) for number in mixing]
    except ValueError:
        numbers = []
    if len(numbers) != len(sources) or not all(0 <= number < float("inf") for number in numbers) or sum(numbers) <= 0:
        raise ConfigError(
            f"--mixing takes proportional, equal, or a number for each of the {len(sources)} sources "
            f"({', '.join(sources)}); got {' '.join(mixing)}."
        )
    return {name: number / sum(numbers) for name, number in zip(sources, numbers, strict=True)}
