"""Values to bins, cells, pixels of the sky."""
