"""Columns, label cells, label encoding and the kind of problem."""
