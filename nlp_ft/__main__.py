"""`python -m nlp_ft` is `nlp-ft`; so `accelerate launch -m nlp_ft finetune ...` works from an installed wheel."""

import sys

from nlp_ft.cli.main import main

if __name__ == "__main__":
    sys.exit(main())
