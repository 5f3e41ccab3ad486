"""One run, from arguments to a saved and verified directory."""
