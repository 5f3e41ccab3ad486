"""Checkpoints as modules: classifiers, tokenizers, heads, pooling, layers, LoRA."""
