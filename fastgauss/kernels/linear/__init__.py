"""Polynomials through rows."""
