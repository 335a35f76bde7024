"""The Gaussian models and their values."""
