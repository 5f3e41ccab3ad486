"""Arrays in, figures out: metrics, probabilities, intervals, baselines, calibration; no data and no model."""
