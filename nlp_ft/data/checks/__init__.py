"""What is wrong with the data: duplicates, leaks, wrong labels, damaged texts; found, shown, and mended when asked."""
