"""What every room stands on: checks, threads, progress, the grid, status codes."""
