"""Files: atomic writes, hashes, arrays, downloads, locks."""
