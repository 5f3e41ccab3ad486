"""Augmentation of small training splits.

New rows with the labels of their sources, made before training, or rows that are mixed during training.
"""
