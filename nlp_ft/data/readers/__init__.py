"""Files in, tables out: CSV, JSON Lines, Arrow, Parquet, folders and text lines."""
