"""The images: fetching, checking, decoding, loading and augmenting them."""
