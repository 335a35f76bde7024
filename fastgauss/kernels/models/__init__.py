"""Kernels of models: values at points and on grids."""
