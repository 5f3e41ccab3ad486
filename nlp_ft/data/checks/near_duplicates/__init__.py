"""Search for near-duplicate texts by MinHash over shingles."""
