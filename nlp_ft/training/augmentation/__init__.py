"""Augmentation of small training splits: more rows with the same labels, or mixed ones while training."""
