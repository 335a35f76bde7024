"""A lane is a pixel."""
