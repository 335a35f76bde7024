"""Data, callers of other packages, and tables, shared by the benchmarks."""
