"""Separable filters."""
