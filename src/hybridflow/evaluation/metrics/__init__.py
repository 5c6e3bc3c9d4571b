"""Metrics on features, one a file."""
