"""Lines through rows, principal components."""
