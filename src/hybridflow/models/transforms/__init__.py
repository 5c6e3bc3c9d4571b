"""Invertible maps, one a file."""
