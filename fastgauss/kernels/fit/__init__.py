"""A lane is a spot."""
