r"""Fit a head on the features of a frozen encoder, which reads each text once.

accelerate launch recipes/features.py --config recipes/features_movies.yaml \
    --model_name_or_path CHECKPOINT --output_dir runs/features_movies
"""

import sys

from nlp_ft.cli.main import launch
from nlp_ft.methods import features

if __name__ == "__main__":
    sys.exit(launch(features))
