"""Training, validation and test rows.

Stratified, grouped, by time or in folds, without leaks.
"""
