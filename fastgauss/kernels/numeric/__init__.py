"""Special functions, small linear algebra."""
