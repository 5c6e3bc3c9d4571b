"""Loading prepared arrays, and the real images the other tests use."""

import numpy as np
import pytest
from pictures import IMAGES, LABELS
from recorded import record, save_array

from hybridflow.data.images import load_images, load_labels, split_holdout
from hybridflow.io.arrays import ArrayWriter
from hybridflow.runtime.errors import UserError

GOOD = np.arange(2 * 3072, dtype=np.uint32).astype(np.uint8).reshape(2, 3, 32, 32)


def test_images_are_mapped_read_only(tmp_path):
    save_array(tmp_path / "a.npy", GOOD)
    images = load_images(tmp_path / "a.npy")
    assert isinstance(images, np.memmap)
    np.testing.assert_array_equal(images, GOOD)
    with pytest.raises(ValueError, match="read-only"):
        images[0] = 0


@pytest.mark.parametrize(
    ("array", "reason"),
    [
        (GOOD.astype(np.float32), r"float32 \(2, 3, 32, 32\), but uint8 \(N, 3, 32, 32\) is expected"),
        (GOOD[:, :1], r"uint8 \(2, 1, 32, 32\)"),
        (GOOD[:0], r"uint8 \(0, 3, 32, 32\)"),
        (GOOD.transpose(0, 2, 3, 1), r"\(2, 32, 32, 3\)"),
        (np.asfortranarray(GOOD), "Fortran order"),
        (np.array([{}], dtype=object), "cannot be read as an array"),
    ],
)
def test_other_arrays_are_refused(tmp_path, array, reason):
    save_array(tmp_path / "a.npy", array)
    with pytest.raises(UserError, match=reason):
        load_images(tmp_path / "a.npy")


@pytest.mark.parametrize("load", [load_images, load_labels])
def test_unreadable_files_are_refused(tmp_path, load):
    path = tmp_path / "a.npy"
    with pytest.raises(UserError, match="is missing"):
        load(path)
    for content in (b"", b"garbage"):
        path.write_bytes(content)
        record(path)
        with pytest.raises(UserError, match="cannot be read as an array"):
            load(path)
    np.savez(tmp_path / "b.npz", GOOD)
    with pytest.raises(UserError, match=r"is not a \.npy file"):
        load(record(tmp_path / "b.npz"))


def test_labels(tmp_path):
    save_array(tmp_path / "a.npy", np.arange(5))
    assert load_labels(tmp_path / "a.npy").tolist() == [0, 1, 2, 3, 4]
    save_array(tmp_path / "a.npy", np.arange(5, dtype=np.int32))
    with pytest.raises(UserError, match=r"int32 \(5,\), but int64 \(N,\) is expected"):
        load_labels(tmp_path / "a.npy")


def test_the_writer_fills_in_any_order(tmp_path):
    with ArrayWriter(tmp_path / "a.npy", GOOD.shape, np.uint8) as writer:
        writer.write(1, GOOD[1:])
        with pytest.raises(ValueError, match="1 of 2 rows"):
            writer.sha256()
        writer.write(0, GOOD[:1])
        with pytest.raises(ValueError, match="does not fit"):
            writer.write(1, GOOD)
    np.testing.assert_array_equal(np.load(tmp_path / "a.npy"), GOOD)


def test_the_sample_of_cifar10():
    assert IMAGES.shape == (64, 3, 32, 32)
    assert IMAGES.dtype == np.uint8
    assert IMAGES[0, :, 0, 0].tolist() == [59, 62, 63]
    assert LABELS[:5].tolist() == [6, 9, 9, 4, 1]


def test_held_out_images_are_the_last_and_are_not_trained_on():
    images = np.repeat(np.arange(10, dtype=np.uint8), 3072).reshape(10, 3, 32, 32)
    kept, held_out = split_holdout(images, 3)
    assert [int(image[0, 0, 0]) for image in kept] == list(range(7))
    assert [int(image[0, 0, 0]) for image in held_out] == [7, 8, 9]
    assert len(split_holdout(images, 0)[0]) == 10
