"""The result of a data check, in the terminal and as an HTML page."""
