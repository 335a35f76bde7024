"""fastgauss/kernels/linear."""
