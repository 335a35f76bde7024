"""Benchmarks: asv suites (bench_*.py) and comparisons (peers.py, test_peers.py)."""
