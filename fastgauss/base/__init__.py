"""What every room stands on: checks, threads, progress, grid, status."""
