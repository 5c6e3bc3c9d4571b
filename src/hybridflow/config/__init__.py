"""The experiment's settings. Nothing here imports torch."""
