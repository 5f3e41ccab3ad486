"""Mending of a table: a plan of edits, and the files they leave."""
