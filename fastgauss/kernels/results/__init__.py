"""Which spot each pixel belongs to."""
