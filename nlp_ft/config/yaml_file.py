"""YAML files and command lines as one list of settings, in which a later one wins.

Values stay text, as they were written.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple

import yaml

from nlp_ft.config.flags import REFUSED, Flag, check_name
from nlp_ft.errors import ConfigError

_NULL = "tag:yaml.org,2002:null"


class Setting(NamedTuple):
    """A flag, its values, and the file they stand in.

    `where` is `a.yaml: `, or nothing for the command line.
    """

    name: str
    values: list[str]
    where: str = ""

    def tokens(self) -> list[str]:
        """As argparse takes it; `=` lets a value begin with a dash."""
        if len(self.values) == 1:
            return [f"--{self.name}={self.values[0]}"]
        return [f"--{self.name}", *self.values]


def read_settings(
    argv: Sequence[str], flags: Iterable[Flag], unsupported: Mapping[str, str] = MappingProxyType({})
) -> list[Setting]:
    """The user's settings: first each `--config FILE` in turn, then the other flags.

    Every name checked.

    `--learning-rate` is `--learning_rate`, `--use_cpu` alone is `--use_cpu=true`, `--no_use_cpu` is `--use_cpu=false`.
    unsupported: names that others have, and why they are not here.

    Raises: ConfigError for an unknown, replaced or refused name, a missing or superfluous value, or an unusable file.
    """
    known = {flag.name: flag for flag in flags}
    files: list[str] = []
    on_command_line = []
    for written, values in _grouped(argv):
        if written == "--config":
            if not values:
                raise ConfigError("--config needs the path of a YAML file.")
            files += values
        else:
            on_command_line.append(_setting(written, values, "", known, unsupported))
    settings = [setting for file in files for setting in read_yaml(file, known, unsupported)]
    return settings + [setting for setting in on_command_line if setting is not None]


def _grouped(argv: Sequence[str]) -> list[tuple[str, list[str]]]:
    """Each flag as written, with the values that follow it.

    `--flag=value` takes that value alone.
    """
    groups: list[tuple[str, list[str]]] = []
    is_open = False
    for token in argv:
        if token.startswith("--"):
            written, equals, value = token.partition("=")
            groups.append((written, [value] if equals else []))
            is_open = not equals
        elif is_open:
            groups[-1][1].append(token)
        else:
            raise ConfigError(f"unexpected argument '{token}'; a flag begins with --.")
    return groups


def read_yaml(
    path: str, known: Mapping[str, Flag], unsupported: Mapping[str, str] = MappingProxyType({})
) -> list[Setting]:
    """The settings of a flat YAML file, in its order.

    `key:` and `key: null` mean the default, and are left out.

    Scalars are taken as written, not as YAML 1.1 reads them: there `2e-5` is a string, `no` a boolean, 1.10 is 1.1.

    Raises: ConfigError if there is no such file, it is no flat mapping, or a key is unknown or stands there twice.
    """
    root = _compose(_text_of(path), path)
    if root is None:
        return []
    if not isinstance(root, yaml.MappingNode):
        raise ConfigError(f"{path}: wanted lines of `flag: value`, got a {root.id}.")
    settings: list[Setting] = []
    for name, value in _pairs(root, path):
        setting = _setting(name, _yaml_values(value, path), f"{path}: ", known, unsupported)
        settings += [setting] if setting is not None else []
    return settings


def read_mapping(written: str, flag: str) -> tuple[dict[str, Any], str]:
    """Read the value of a flag that takes a mapping.

    It is JSON (or YAML in braces), or the path of a YAML file.

    Values are text, numbers, true, false, null, lists or mappings, as in a mapping inside a `--config` file.

    Returns: the mapping, and what its faults are to be named by: the flag, or the path of the file.
    Raises: ConfigError for no mapping, a key that stands there twice, or a file that cannot be read.
    """
    inline = written.lstrip().startswith("{")
    where = f"--{flag}" if inline else written
    root = _compose(written if inline else _text_of(written, f"--{flag}"), where)
    if not isinstance(root, yaml.MappingNode):
        raise ConfigError(f"{where}: wanted a mapping, got {'nothing' if root is None else f'a {root.id}'}.")
    return _json_value(root, where), where


def _text_of(path: str, flag: str = "--config") -> str:
    try:
        return Path(path).expanduser().read_text(encoding="utf-8-sig")
    except OSError as error:
        raise ConfigError(f"{flag} {path}: {(error.strerror or str(error)).lower()}.") from None
    except UnicodeDecodeError:
        raise ConfigError(f"{path}: not UTF-8.") from None


def _compose(text: str, where: str) -> Any:
    try:
        return yaml.compose(text, yaml.SafeLoader)
    except yaml.YAMLError as error:
        raise ConfigError(f"{where}: no valid YAML: {' '.join(str(error).split())}.") from None


def _pairs(node: yaml.MappingNode, where: str) -> Iterator[tuple[str, yaml.Node]]:
    """Each key, as written, and its value.

    Raises: ConfigError for a key that stands there twice.
    """
    lines: dict[str, int] = {}
    for key, value in node.value:
        name, line = str(key.value), key.start_mark.line + 1
        if name in lines:
            raise ConfigError(f"{where}: key '{name}' stands there twice, in lines {lines[name]} and {line}.")
        lines[name] = line
        yield name, value


def _yaml_values(node: yaml.Node, where: str) -> list[str] | None:
    """A scalar as its text, a list item by item, a mapping as JSON; None for null."""
    if isinstance(node, yaml.ScalarNode):
        return None if node.tag == _NULL else [node.value]
    if isinstance(node, yaml.SequenceNode) and all(isinstance(item, yaml.ScalarNode) for item in node.value):
        return [item.value for item in node.value]
    return [json.dumps(_json_value(node, where), ensure_ascii=False)]


def _json_value(node: yaml.Node, where: str) -> Any:
    """A value inside a mapping.

    Keys are names as written; plain scalars are numbers (2e-5, too), true, false or null.
    """
    if isinstance(node, yaml.MappingNode):
        return {name: _json_value(value, where) for name, value in _pairs(node, where)}
    if isinstance(node, yaml.SequenceNode):
        return [_json_value(item, where) for item in node.value]
    if node.tag == _NULL:
        return None
    is_plain = isinstance(node, yaml.ScalarNode) and node.style is None
    if is_plain and node.value.lower() in ("true", "false"):
        return node.value.lower() == "true"
    for number in (int, float) if is_plain else ():
        try:
            return number(node.value)
        except ValueError:
            continue
    return node.value


def _setting(
    written: str, values: list[str] | None, where: str, known: Mapping[str, Flag], unsupported: Mapping[str, str]
) -> Setting | None:
    """One setting under its flag's own name.

    None where it asks for nothing (null, or a refused flag set to what holds).
    """
    on_command_line = written.startswith("--")
    name = written.removeprefix("--").replace("-", "_") if on_command_line else written
    negated = known.get(name.removeprefix("no_"))
    if on_command_line and name not in known and name.startswith("no_") and negated and negated.is_bool and not values:
        name, values = negated.name, ["false"]
    if name in REFUSED and _holds_anyway(known.get(name), values):
        return None
    check_name(name, known, where, written, unsupported)
    if values is None:
        return None
    flag = known[name]
    if not values and not (flag.is_bool and on_command_line):
        raise ConfigError(f"{where}{written} needs a value.")
    if len(values) > 1 and not flag.is_list:
        raise ConfigError(f"{where}{written} takes one value, got {len(values)}: {' '.join(values)}.")
    return Setting(name, values or ["true"], where)


def _holds_anyway(flag: Flag | None, values: list[str] | None) -> bool:
    """Whether a refused flag is set to nothing, to false, or to its default.

    A copied file may have it so.
    """
    default = str(flag.default).lower() if flag is not None else "false"
    return values is None or (len(values) == 1 and values[0].lower() in ("false", "null", "none", default))
