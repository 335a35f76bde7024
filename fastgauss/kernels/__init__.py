"""Compiled building blocks; nothing here imports the layer above."""
