r"""Fine-tune a checkpoint on labelled texts, in full or with LoRA.

accelerate launch recipes/finetune.py --config recipes/finetune_movies.yaml \
    --model_name_or_path CHECKPOINT --output_dir runs/movies
"""

import sys

from nlp_ft.cli.main import launch
from nlp_ft.methods import finetune

if __name__ == "__main__":
    sys.exit(launch(finetune))
