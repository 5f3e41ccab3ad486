r"""Meta-learn an initialisation that adapts to new tasks from a few rows.

accelerate launch recipes/meta.py --config recipes/meta_bands.yaml \
    --model_name_or_path CHECKPOINT --output_dir runs/meta_bands
"""

import sys

from nlp_ft.cli.main import launch
from nlp_ft.methods import meta

if __name__ == "__main__":
    sys.exit(launch(meta))
