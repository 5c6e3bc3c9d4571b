"""Networks: generators, discriminators, and what they are built of."""
