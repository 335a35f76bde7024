"""fastgauss/kernels/filters."""
