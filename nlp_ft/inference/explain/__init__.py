"""Word attributions of a prediction by integrated gradients."""
