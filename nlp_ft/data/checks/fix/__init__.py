"""Repair of tables: a plan of drops and rewrites, and the files that it writes."""
