"""From archives in every layout, whole, damaged and hostile, to arrays."""

import gzip
import hashlib
import io
import json
import pickle
import re
import struct
import tarfile

import archives
import numpy as np
import pytest
from archives import write_tar
from forks import start
from PIL import Image

from hybridflow.config.data import DatasetSettings
from hybridflow.data.cifar10.decode import read_cifar10
from hybridflow.data.cifar10.layout import Cifar10Layout
from hybridflow.data.cifar10.pickles import as_bytes_array, load_plain
from hybridflow.data.images import load_images, load_labels
from hybridflow.data.prepare import prepare_dataset
from hybridflow.io.records import read_record
from hybridflow.runtime.errors import UserError

N = 3  # images a batch
RNG = np.random.default_rng(0)
IMAGES = {
    "train": RNG.integers(0, 256, (5 * N, 3, 32, 32), np.uint8),
    "test": RNG.integers(0, 256, (N, 3, 32, 32), np.uint8),
}
LABELS = {"train": RNG.integers(0, 10, 5 * N), "test": RNG.integers(0, 10, N)}
HASHES = {split: hashlib.sha256(array.tobytes()).hexdigest() for split, array in IMAGES.items()}
LAYOUT = Cifar10Layout(batch_images=N, train_sha256=HASHES["train"], test_sha256=HASHES["test"])


def batches():
    """(name, images, labels) of the six batches, not in order."""
    parts = [
        (f"data_batch_{i + 1}", IMAGES["train"][i * N :][:N], LABELS["train"][i * N :][:N]) for i in (3, 0, 4, 2, 1)
    ]
    return [*parts, ("test_batch", IMAGES["test"], LABELS["test"])]


def binary_files():
    rows = {n: np.concatenate([y[:, None].astype(np.uint8), x.reshape(N, -1)], axis=1) for n, x, y in batches()}
    return {f"cifar-10-batches-bin/{name}.bin": row.tobytes() for name, row in rows.items()}


def npm_files():
    files = {"package/package.json": b"{}"}
    for name, images, _ in batches():
        buffer = io.BytesIO()
        Image.fromarray(images.transpose(0, 2, 3, 1).reshape(N, 1024, 3)).save(buffer, "PNG")
        files[f"package/{name}.png"] = buffer.getvalue()
    for split, labels in LABELS.items():
        files[f"package/{split}_lables.json"] = json.dumps(labels.tolist()).encode()
    return files


def python_files():
    files = archives.python_files(*(np.concatenate([arrays["train"], arrays["test"]]) for arrays in (IMAGES, LABELS)))
    return dict(reversed(files.items()))


LAYOUTS = {"python": python_files, "binary": binary_files, "npm": npm_files}


def prepare(path, tmp_path, layout=LAYOUT):
    return prepare_dataset(DatasetSettings(archive=str(path)), tmp_path / "out", tmp_path / "cache", layout)


def check_output(directory):
    for split in ("train", "test"):
        np.testing.assert_array_equal(load_images(directory / f"{split}.npy"), IMAGES[split])
        np.testing.assert_array_equal(load_labels(directory / f"{split}_labels.npy"), LABELS[split])


@pytest.mark.parametrize("kind", LAYOUTS)
@pytest.mark.parametrize("mode", ["w:gz", "w"])
def test_every_archive_gives_the_same_arrays(tmp_path, kind, mode):
    manifest = prepare(write_tar(tmp_path / "archive", LAYOUTS[kind](), mode), tmp_path)
    check_output(tmp_path / "out")
    assert manifest == read_record(tmp_path / "out" / "manifest.json")
    assert manifest["source"] == "cifar10"
    assert manifest["origin"] == str(tmp_path / "archive")
    assert manifest["arrays"]["train"] == {"shape": [5 * N, 3, 32, 32], "dtype": "uint8"}
    assert manifest["arrays"]["test_labels"]["shape"] == [N]
    assert sorted(p.name for p in (tmp_path / "out").iterdir()) == [
        "manifest.json",
        "test.npy",
        "test_labels.npy",
        "train.npy",
        "train_labels.npy",
    ]


@pytest.mark.parametrize("kind", LAYOUTS)
@pytest.mark.parametrize("inner", [False, True])
def test_an_unpacked_directory_works_too(tmp_path, kind, inner):
    for name, content in LAYOUTS[kind]().items():
        (tmp_path / "data" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "data" / name).write_bytes(content)
    path = next((tmp_path / "data").iterdir()) if inner else tmp_path / "data"
    prepare(path, tmp_path)
    check_output(tmp_path / "out")


def test_a_leading_dot_slash_is_dropped(tmp_path):
    prepare(write_tar(tmp_path / "a", {f"./{n}": c for n, c in binary_files().items()}), tmp_path)
    check_output(tmp_path / "out")


def refused(path, tmp_path, reason, layout=LAYOUT):
    with pytest.raises(UserError, match=reason) as caught:
        prepare(path, tmp_path, layout)
    message = str(caught.value)
    assert str(path) in message
    assert "\n" not in message
    assert list((tmp_path / "out").iterdir()) == []
    return message


@pytest.mark.parametrize("share", [0.01, 0.3, 0.9, 0.999])
@pytest.mark.parametrize("mode", ["w:gz", "w"])
def test_a_truncated_archive_is_a_sentence(tmp_path, share, mode):
    content = write_tar(tmp_path / "whole", binary_files(), mode).read_bytes()
    if mode == "w":
        content = content.rstrip(b"\0")
    path = tmp_path / "cut"
    path.write_bytes(content[: int(len(content) * share)])
    assert "`dataset.archive`" in refused(path, tmp_path, "is not a usable CIFAR-10 archive")


@pytest.mark.parametrize(
    "content",
    # gzip writes the time unless told otherwise, and the workers must agree on the tests' names
    [b"", b"hello", b"\x1f\x8b", gzip.compress(b"hello", mtime=0), bytes(10240)],
    ids=["empty", "text", "gzip-start", "gzipped-text", "zeros"],
)
def test_garbage_is_a_sentence(tmp_path, content):
    path = tmp_path / "garbage"
    path.write_bytes(content)
    refused(path, tmp_path, "is not a usable CIFAR-10 archive")


def test_an_archive_with_a_flipped_bit_is_refused(tmp_path):
    path = write_tar(tmp_path / "flipped", npm_files())
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    refused(path, tmp_path, "is not a usable CIFAR-10 archive")


@pytest.mark.parametrize("kind", LAYOUTS)
def test_missing_files_are_named(tmp_path, kind):
    files = LAYOUTS[kind]()
    gone = next(name for name in files if "data_batch_2" in name)
    del files[gone]
    path = write_tar(tmp_path / "archive", files)
    refused(path, tmp_path, f"lacks {gone.rpartition('/')[2]}")


def test_other_images_are_refused(tmp_path):
    path = write_tar(tmp_path / "archive", python_files())
    layout = Cifar10Layout(batch_images=N, train_sha256=HASHES["train"], test_sha256="0" * 64)
    refused(path, tmp_path, f"test images have SHA-256 {HASHES['test']} instead of CIFAR-10's 0000", layout)


@pytest.mark.parametrize("name", ["../evil", "/etc/evil", "a/../../evil", "..\\evil"])
def test_names_that_leave_the_archive_are_refused(tmp_path, name):
    path = write_tar(tmp_path / "archive", {name: b"x", **binary_files()})
    refused(path, tmp_path, "leads out of the archive")


@pytest.mark.parametrize("kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.FIFOTYPE, tarfile.CHRTYPE])
def test_links_and_devices_are_refused(tmp_path, kind):
    path = write_tar(tmp_path / "archive", binary_files(), "w")
    with tarfile.open(path, "a") as archive:
        member = tarfile.TarInfo("cifar-10-batches-bin/link")
        member.type, member.linkname = kind, "/etc/passwd"
        archive.addfile(member)
    refused(path, tmp_path, "is a link or a device")


def test_members_that_are_too_large_are_refused(tmp_path):
    files = binary_files()
    large = dict(files, **{"cifar-10-batches-bin/data_batch_1.bin": bytes(LAYOUT.member_limit + 1)})
    refused(write_tar(tmp_path / "a", large), tmp_path, "more than the .* expected")
    bomb = {"padding": bytes(9 * LAYOUT.member_limit), **files}
    refused(write_tar(tmp_path / "b", bomb), tmp_path, "unpacks to more than")


def test_a_member_that_comes_twice_is_refused(tmp_path):
    path = write_tar(tmp_path / "archive", binary_files(), "w")
    with tarfile.open(path, "a") as archive:
        archive.addfile(tarfile.TarInfo("cifar-10-batches-bin/test_batch.bin"))
    refused(path, tmp_path, "twice")


@pytest.mark.parametrize(
    ("name", "content", "reason"),
    [
        ("package/test_batch.png", b"no image", "cannot identify"),
        ("package/test_lables.json", b"[1, 2]", "3 whole numbers"),
        ("package/test_lables.json", b"[1, 2, 10]", "between 0 and 9"),
        ("package/test_lables.json", b"[1, 2, 0.5]", "3 whole numbers"),
        ("package/test_lables.json", b"[" * 100_000, "cannot be read"),
        ("package/test_lables.json", b"{", "cannot be read"),
        ("cifar-10-batches-bin/test_batch.bin", b"x" * 10, "10 bytes instead of 9219"),
        ("cifar-10-batches-py/test_batch", b"", "cannot be read"),
        ("cifar-10-batches-py/test_batch", pickle.dumps([1], 2), "must hold a dictionary"),
        ("cifar-10-batches-py/test_batch", pickle.dumps({b"data": np.zeros((3, 5), np.uint8)}, 3), "must be 3 x 3072"),
    ],
)
def test_damaged_members_are_named(tmp_path, name, content, reason):
    files = next(make() for make in LAYOUTS.values() if name in make())
    path = write_tar(tmp_path / "archive", files | {name: content})
    assert name.rpartition("/")[2] in refused(path, tmp_path, reason)


def test_a_png_of_another_shape_is_refused_unread(tmp_path):
    buffer = io.BytesIO()
    Image.new("RGB", (1024, N + 1)).save(buffer, "PNG")
    path = write_tar(tmp_path / "archive", npm_files() | {"package/data_batch_1.png": buffer.getvalue()})
    refused(path, tmp_path, r"instead of RGB, \(1024, 3\)")


class Evil:
    def __reduce__(self):
        return print, ("executed",)


@pytest.mark.parametrize("protocol", [2, 3, 4])
def test_pickles_cannot_run_anything(capsys, protocol):
    found = load_plain(pickle.dumps({"data": Evil()}, protocol))["data"]
    assert found.name.endswith(" print")
    with pytest.raises(ValueError, match="must be an array of uint8"):
        as_bytes_array(found)
    assert "executed" not in capsys.readouterr().out


def text(content):
    """A string as Python 2 pickles it."""
    return (b"U" + bytes([len(content)]) if len(content) < 256 else b"T" + struct.pack("<i", len(content))) + content


def dtype(name, state=b""):
    return b"cnumpy\ndtype\n" + text(name) + b"K\x00K\x01\x87R" + state


def array(shape, kind, content):
    """An array as Python 2's numpy pickles it."""
    size = b"".join(b"M" + struct.pack("<H", n) for n in shape)
    start = b"cnumpy.core.multiarray\n_reconstruct\ncnumpy\nndarray\nK\x00\x85U\x01b\x87R(K\x01("
    return start + size + b"t" + kind + b"\x89" + content + b"tb"


def batch(labels, data=None, shape=(N, 3072)):
    data = array(shape, dtype(b"u1", DTYPE_STATE), text(bytes(N * 3072))) if data is None else data
    return b"\x80\x02}(" + text(b"data") + data + text(b"labels") + labels + b"u."


DTYPE_STATE = b"(K\x03U\x01|NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb"
# One field, an object, that the flags (0) deny: numpy takes eight bytes of the file for the address of an object.
POINTERS = dtype(b"V8", b"(K\x03U\x01|N(U\x01ft}U\x01f(" + dtype(b"O8") + b"K\x00tsK\x08K\x01K\x00tb")
POINTER = array((1,), POINTERS, text(b"A" * 8))
HOSTILE = {
    "objects as labels": (batch(b"](" + 3 * POINTER + b"e"), "3 whole numbers"),
    "objects as data": (batch(b"]", array((3, 3072), POINTERS, text(bytes(3 * 3072)))), "array of uint8"),
    "a key nested deeply": (b"\x80\x02})" + 1_000_000 * b"\x85" + b"Ns.", "damaged"),
    "lists of lists": (batch(b"]" + 40 * b"](2222e" + b"K\x00a"), "DUP"),
    "a huge shape": (batch(b"]", shape=(65535, 65535)), "array of uint8"),
    "an own class": (b"\x80\x02(imodule\nClass\n.", "INST"),
    "a state of a list": (batch(b"]Nb"), "damaged"),
    "no mark": (b"\x80\x02t.", "damaged"),
    "too few values": (b"\x80\x02K\x00\x86.", "damaged"),
    "an unknown reference": (b"\x80\x02h\x07.", "damaged"),
    "two values": (b"\x80\x02NN.", "too many values"),
}


@pytest.mark.parametrize("kind", HOSTILE)
def test_hostile_pickles_are_refused(tmp_path, kind):
    content, reason = HOSTILE[kind]
    path = write_tar(tmp_path / "archive", python_files() | {"cifar-10-batches-py/test_batch": content})
    # In a process of its own: some of these ended the interpreter.
    process, pipe = start(read_and_say, path)
    process.join(60)
    assert process.exitcode == 0
    assert re.search(rf"not a usable CIFAR-10 archive: test_batch in it cannot be read \(.*{reason}", pipe.recv())


def read_and_say(path, pipe):
    try:
        list(read_cifar10(path, LAYOUT))
    except UserError as error:
        pipe.send(str(error))
    else:
        pipe.send("read")


def test_a_pickle_of_python_2_is_read():
    content = load_plain(batch(b"](K\x01K\x02K\x03e", array((1, 2), dtype(b"u1", DTYPE_STATE), text(b"\xfe\xff"))))
    assert content[b"labels"] == [1, 2, 3]
    found = as_bytes_array(content[b"data"])
    assert found.dtype == np.uint8
    assert found.tolist() == [[254, 255]]


def test_a_failed_run_leaves_an_older_result_alone(tmp_path):
    good = write_tar(tmp_path / "good", binary_files())
    prepare(good, tmp_path)
    (tmp_path / "bad").write_bytes(b"x")
    with pytest.raises(UserError):
        prepare(tmp_path / "bad", tmp_path)
    check_output(tmp_path / "out")
    assert (tmp_path / "out" / "manifest.json").exists()


def test_an_unwritable_directory_is_a_sentence(tmp_path):
    (tmp_path / "out").write_text("")
    with pytest.raises(UserError, match="Cannot write the dataset to"):
        prepare(write_tar(tmp_path / "a", binary_files()), tmp_path)
