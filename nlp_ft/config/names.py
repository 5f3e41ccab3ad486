"""Names of models and loggers, checked before anything heavy is imported.

A mistyped directory is told with the nearest name there is, and is never looked up on the Hub.
"""

from __future__ import annotations

import difflib
import importlib.util
from collections.abc import Sequence
from pathlib import Path

from nlp_ft.errors import ConfigError, ModelError, did_you_mean

_LOCAL_FOLDERS = {  # first folders of paths that runs are commonly written to
    *("checkpoint", "checkpoints", "data", "exp", "experiments", "log", "logs", "model", "models", "out", "output"),
    *("outputs", "result", "results", "run", "runs", "save", "saved", "tmp"),
}
_LOGGER_PACKAGES = {
    "azure_ml": ("azureml",),
    "clearml": ("clearml",),
    "codecarbon": ("codecarbon",),
    "comet_ml": ("comet_ml",),
    "dagshub": ("dagshub",),
    "dvclive": ("dvclive",),
    "flyte": ("flytekit",),
    "mlflow": ("mlflow",),
    "neptune": ("neptune",),
    "swanlab": ("swanlab",),
    "tensorboard": ("tensorboard", "tensorboardX"),
    "trackio": ("trackio",),
    "wandb": ("wandb",),
}


_WELL_KNOWN = (
    *(
        "bert-base-uncased",
        "bert-base-cased",
        "bert-base-multilingual-cased",
        "distilbert-base-uncased",
        "roberta-base",
    ),
    *(
        "distilroberta-base",
        "xlm-roberta-base",
        "albert-base-v2",
        "gpt2",
        "distilgpt2",
        "google-bert/bert-base-uncased",
    ),
    *(
        "distilbert/distilbert-base-uncased",
        "FacebookAI/roberta-base",
        "FacebookAI/xlm-roberta-base",
        "openai-community/gpt2",
    ),
    *("microsoft/deberta-v3-small", "microsoft/deberta-v3-base", "microsoft/MiniLM-L12-H384-uncased"),
    *("answerdotai/ModernBERT-base", "google/electra-base-discriminator", "sentence-transformers/all-MiniLM-L6-v2"),
    *("HuggingFaceTB/SmolLM2-135M", "Qwen/Qwen3-0.6B"),
)


def check_model(name: str, revision: str | None = None) -> None:
    """Refuse a local path that is not there, and a revision of a directory.

    A name counts as a path if it cannot be a name on the Hub (owner/name), or its first folder is there, or is one that runs
    are commonly written to. Raises: ModelError, ConfigError.
    """
    if not name.strip():
        raise ModelError("the checkpoint's name is empty; wanted a directory or a name on the Hub.")
    path = Path(name).expanduser()
    if path.is_dir():
        if revision not in (None, "main"):
            raise ConfigError(f"--revision {revision}: {name} is a directory, and has no revisions; leave it out.")
        return
    if path.is_file():
        raise ModelError(f"{name} is a file; wanted a checkpoint directory or a name on the Hub.")
    if _is_path(name):
        raise ModelError(
            f"{name}: no such directory, and no name on the Hub either (those are owner/name).{_nearest(path)}"
        )


def check_hub_model(name: str, revision: str | None = None, cache_dir: str | None = None) -> None:
    """Refuse a name that neither the local cache nor the Hub knows; directories are passed over.

    Only the cache is asked where HF_HUB_OFFLINE is set. Raises: ModelError, with the nearest name of a directory here, a cached
    model or a well-known one.
    """
    if Path(name).expanduser().exists():
        return
    from huggingface_hub import HfApi, constants, try_to_load_from_cache
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError

    files = ("config.json", "adapter_config.json")
    cached = [try_to_load_from_cache(name, file, cache_dir=cache_dir, revision=revision) for file in files]
    if any(isinstance(path, str) for path in cached):
        return
    if constants.is_offline_mode():
        raise ModelError(
            f"{name}: no such directory, not in the cache of the Hub, and HF_HUB_OFFLINE forbids to ask the Hub."
            f"{_nearest_model(name, cache_dir)}"
        )
    try:
        known = HfApi().repo_exists(name)
    except HFValidationError:
        known = False
    except HfHubHTTPError:  # a gate, a server that fails: the load says what it is
        return
    except Exception:  # the errors of a connection are not the client's own
        raise ModelError(
            f"{name}: no such directory, not in the cache of the Hub, and {constants.ENDPOINT} cannot be reached."
            f"{_nearest_model(name, cache_dir)}"
        ) from None
    if not known:
        raise ModelError(f"{name}: no such directory, and no such model on the Hub.{_nearest_model(name, cache_dir)}")


def check_loggers(names: Sequence[str]) -> None:
    """Refuse experiment trackers that are not installed, or not known. Raises: ConfigError."""
    for name in names:
        if name in ("none", "all"):
            continue
        if name not in _LOGGER_PACKAGES:
            raise ConfigError(f"--report_to {name}: no tracker of this name.{did_you_mean(name, _LOGGER_PACKAGES)}")
        if not any(map(_is_installed, _LOGGER_PACKAGES[name])):
            there = [known for known, packages in _LOGGER_PACKAGES.items() if any(map(_is_installed, packages))]
            raise ConfigError(
                f"--report_to {name}: the package {_LOGGER_PACKAGES[name][0]} is not installed; there is "
                f"{', '.join(there) or 'none'}."
            )


def _is_path(name: str) -> bool:
    if Path(name).is_absolute() or name.startswith((".", "~")) or name.count("/") > 1 or name.endswith("/"):
        return True
    first, slash, _ = name.partition("/")
    return bool(slash) and (first in _LOCAL_FOLDERS or Path(first).is_dir())


def _nearest(path: Path) -> str:
    """` Did you mean 'x'?` for the nearest directory beside a path."""
    parent = path.parent
    if not parent.is_dir():
        return ""
    nearest = difflib.get_close_matches(path.name, [entry.name for entry in parent.iterdir() if entry.is_dir()], n=1)
    return f" Did you mean '{parent / nearest[0]}'?" if nearest else ""


def _nearest_model(name: str, cache_dir: str | None) -> str:
    """` Did you mean 'x'?` for the nearest directory here, cached model or well-known one."""
    from huggingface_hub import constants

    cache = Path(cache_dir or constants.HF_HUB_CACHE)
    cached = [entry.name.removeprefix("models--").replace("--", "/") for entry in cache.glob("models--*")]
    here = [entry.name for entry in Path().iterdir() if entry.is_dir()]
    return did_you_mean(name, [*here, *cached, *_WELL_KNOWN])


def _is_installed(package: str) -> bool:
    return importlib.util.find_spec(package) is not None
