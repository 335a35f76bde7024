"""Where spots are."""
