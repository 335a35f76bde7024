"""Local maxima of a filtered image."""
