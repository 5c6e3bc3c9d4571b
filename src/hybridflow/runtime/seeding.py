"""Random numbers as a function of (seed, purpose, counter).

Every draw of the pipeline comes from a generator seeded here. Nothing depends on how many numbers
were drawn before, so a run that was killed needs no generator state to continue exactly.
"""

from __future__ import annotations

import hashlib


def derive_seed(*parts: int | str) -> int:
    """A 63-bit seed that depends on every part and on their order.

    torch's generator on a CPU takes the low 32 bits of it, so of n streams about n² / 2^33 pairs are the same: of the
    50,000 samples of seed 0 one pair, images 323 and 39,935.

    Example:
        >>> derive_seed(0, "noise", 17) == derive_seed(0, "noise", 17)
        True
        >>> derive_seed(0, "noise", 17) == derive_seed(0, "noise", 18)
        False
    """
    digest = hashlib.blake2b("\x1f".join(map(str, parts)).encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big") >> 1
