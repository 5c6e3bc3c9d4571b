"""Results that are kept under a key made of everything that determines them."""
