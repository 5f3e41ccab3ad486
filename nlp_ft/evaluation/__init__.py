"""Metrics, intervals, baselines and calibration, from arrays alone."""
