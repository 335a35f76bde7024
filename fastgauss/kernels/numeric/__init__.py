"""Special functions and small linear algebra in lanes."""
