"""`python -m nlp_ft`, which is `nlp-ft`.

So `accelerate launch -m nlp_ft finetune ...` works from an installed wheel.
"""

import sys

from nlp_ft.cli.main import main

if __name__ == "__main__":
    sys.exit(main())
