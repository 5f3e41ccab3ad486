r"""Train one encoder for several tasks at once, each with a head of its own.

accelerate launch recipes/multitask.py --config recipes/multitask_domains.yaml \
    --model_name_or_path CHECKPOINT --output_dir runs/domains
"""

import sys

from nlp_ft.cli.main import launch
from nlp_ft.methods import multitask

if __name__ == "__main__":
    sys.exit(launch(multitask))
