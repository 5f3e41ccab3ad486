r"""Distil a fine-tuned classifier, the teacher, into a smaller student.

accelerate launch recipes/distill.py --config recipes/distill_movies_score.yaml \
    --teacher_name_or_path runs/movies_score --model_name_or_path runs/movies_score --output_dir runs/movies_score_student
"""

import sys

from nlp_ft.cli.main import launch
from nlp_ft.methods import distill

if __name__ == "__main__":
    sys.exit(launch(distill))
