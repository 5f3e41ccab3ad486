"""Checks of the data: duplicates, leaks, wrong labels, damaged texts; repairs."""
