"""CIFAR-10: fetched, decoded, verified."""
