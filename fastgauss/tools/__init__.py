"""Warmup, show_config, bench."""
