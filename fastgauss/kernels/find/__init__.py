"""fastgauss/kernels/find."""
