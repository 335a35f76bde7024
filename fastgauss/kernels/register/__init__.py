"""fastgauss/kernels/register."""
