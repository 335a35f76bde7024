"""fastgauss/kernels/results."""
