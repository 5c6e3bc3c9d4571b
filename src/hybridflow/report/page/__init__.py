"""The report page of an experiment: one HTML file that needs nothing else."""
