"""Training, validation and test rows: stratified, grouped, by time, in folds, without leaks."""
