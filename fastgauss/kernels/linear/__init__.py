"""Kernels of polynomials through rows."""
