r"""Pre-train a checkpoint further on unlabelled texts.

accelerate launch recipes/pretrain.py --config recipes/pretrain_movies.yaml \
    --model_name_or_path CHECKPOINT --output_dir runs/movies_body
"""

import sys

from nlp_ft.cli.main import launch
from nlp_ft.methods import pretrain

if __name__ == "__main__":
    sys.exit(launch(pretrain))
