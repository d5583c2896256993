"""Data, texts, training-only heads and losses of the nano model."""
