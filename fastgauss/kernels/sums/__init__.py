"""fastgauss/kernels/sums."""
