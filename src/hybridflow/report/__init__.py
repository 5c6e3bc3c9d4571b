"""What a reader gets: the table, the figures and a record of how they came to be."""
