"""Values at points; factories for the caller."""
