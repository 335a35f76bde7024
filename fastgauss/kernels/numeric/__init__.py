"""Special functions and small linear algebra."""
