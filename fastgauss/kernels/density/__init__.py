"""fastgauss/kernels/density."""
