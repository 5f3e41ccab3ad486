"""A saved directory as a `Classifier`: loading, prediction, features, files, explanations, export."""
