"""Report of a data check: in the terminal, as an HTML page and as JSON."""
