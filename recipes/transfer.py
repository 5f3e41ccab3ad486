r"""Fine-tune on a source domain first, then on the target; measures what that gained over the target alone.

accelerate launch recipes/transfer.py --config recipes/transfer_movies_tweets.yaml \
    --model_name_or_path CHECKPOINT --output_dir runs/transfer
"""

import sys

from nlp_ft.cli.main import launch
from nlp_ft.methods import transfer

if __name__ == "__main__":
    sys.exit(launch(transfer))
