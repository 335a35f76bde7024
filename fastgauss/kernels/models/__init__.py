"""Values of models at points."""
