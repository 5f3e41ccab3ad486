"""Checkpoints as modules: classifiers, tokenizers, heads, pooling, layers, adapters."""
