"""Checks of a checkpoint before its weights are loaded."""
