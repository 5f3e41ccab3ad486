r"""Fit a few rows a class (contrastively as SetFit, frozen, or in full), or the labels alone, zero-shot.

accelerate launch recipes/fewshot.py --config recipes/fewshot_movies.yaml \
    --model_name_or_path CHECKPOINT --output_dir runs/movies_fewshot
"""

import sys

from nlp_ft.cli.main import launch
from nlp_ft.methods import fewshot

if __name__ == "__main__":
    sys.exit(launch(fewshot))
