"""The command fastgauss."""
