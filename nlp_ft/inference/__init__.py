"""A saved directory as a `Classifier`: predictions, features, files, export."""
