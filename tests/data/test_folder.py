"""A user's own folder of images: decoding, errors, fingerprint."""

import os
import runpy
import struct
import subprocess
import sys
import zlib
from types import SimpleNamespace

import numpy as np
import pytest
from checkout import ROOT
from PIL import Image

from hybridflow.config.data import DatasetSettings
from hybridflow.data import fingerprint
from hybridflow.data.fingerprint import content_hash
from hybridflow.data.images import load_images
from hybridflow.data.listing import list_images
from hybridflow.data.prepare import is_prepared, prepare_dataset
from hybridflow.runtime.errors import UserError

RNG = np.random.default_rng(1)
OTHERS = [f"x{number}.png" for number in range(8)]


def pixels(channels=3):
    return RNG.integers(0, 256, (32, 32, channels)[: 2 + (channels > 1)], np.uint8)


@pytest.fixture
def folder(tmp_path):
    """Ten images in each split, one of them deeper."""
    root = tmp_path / "images"
    for split in ("train", "test"):
        (root / split / "sub").mkdir(parents=True)
        Image.fromarray(pixels()).save(root / split / "b.png")
        Image.fromarray(pixels()).save(root / split / "sub" / "a.png")
        for name in OTHERS:
            Image.fromarray(pixels()).save(root / split / name)
    return root


class Outputs(list):
    """A job's outputs as Snakemake gives them: a list, whose last one has a name, too."""

    @property
    def manifest(self):
        return self[-1]


def settings_of(folder):
    return DatasetSettings(source="folder", folder=str(folder))


def prepare(folder, tmp_path):
    return prepare_dataset(settings_of(folder), tmp_path / "out", tmp_path / "cache")


def expected(folder, name):
    return np.asarray(Image.open(folder / name).convert("RGB")).transpose(2, 0, 1)


def test_what_another_experiment_prepared_stays(folder, tmp_path, monkeypatch):
    monkeypatch.setattr(sys, "stderr", sys.stderr)  # a job puts its own there
    made = [tmp_path / "out" / name for name in ("train.npy", "test.npy", "manifest.json")]
    job = SimpleNamespace(
        rule="prepare_dataset",
        log=[str(tmp_path / "log")],
        output=Outputs(map(str, made)),
        params=SimpleNamespace(cache=str(tmp_path / "cache")),
        config={
            "experiment": "own",
            "variants": {"baseline": {}},
            "dataset": {"source": "folder", "folder": str(folder)},
            "evaluation": {"metrics": []},
        },
    )

    def files():
        runpy.run_path(str(ROOT / "workflow" / "scripts" / "prepare_dataset.py"), {"snakemake": job})
        return [path.stat().st_ino for path in made]

    first = files()
    assert files() == first
    made[0].write_bytes(made[0].read_bytes()[:-1] + b"?")
    assert files() != first, "damaged arrays are made anew"
    assert is_prepared(tmp_path / "out")


def test_images_come_sorted_by_name(folder, tmp_path):
    Image.fromarray(pixels()).save(folder / "train" / "ärger 図.BMP")
    Image.fromarray(pixels()).save(folder / "train" / "c.webp", lossless=True)
    Image.fromarray(pixels()).save(folder / "train" / "a.jpg")
    (folder / "train" / "d.png").symlink_to(folder / "test" / "b.png")
    (folder / "train" / "notes.txt").write_text("skipped")
    (folder / "train" / "._b.png").write_text("skipped")
    (folder / "train" / "sub" / "loop").symlink_to(folder / "train")
    names = ["a.jpg", "b.png", "c.webp", "d.png", "sub/a.png", *OTHERS, "ärger 図.BMP"]
    assert list_images(folder, "train") == [f"train/{name}" for name in names]
    manifest = prepare(folder, tmp_path)
    images = load_images(tmp_path / "out" / "train.npy")
    for image, name in zip(images, names, strict=True):
        np.testing.assert_array_equal(image, expected(folder, f"train/{name}"))
    assert manifest["source"] == "folder"
    assert manifest["origin"] == str(folder)
    assert manifest["arrays"]["test"]["shape"] == [10, 3, 32, 32]
    assert sorted(p.name for p in (tmp_path / "out").iterdir()) == ["manifest.json", "test.npy", "train.npy"]


def test_grey_and_palette_become_rgb_exactly(folder, tmp_path):
    grey = pixels(1)
    Image.fromarray(grey).save(folder / "test" / "grey.png")
    Image.fromarray(grey > 127).save(folder / "test" / "one.png")
    Image.fromarray(pixels()).quantize(16).save(folder / "test" / "palette.png")
    prepare(folder, tmp_path)
    images = load_images(tmp_path / "out" / "test.npy")
    np.testing.assert_array_equal(images[1], np.stack([grey] * 3))
    np.testing.assert_array_equal(images[2], np.stack([(grey > 127) * 255] * 3))
    np.testing.assert_array_equal(images[3], expected(folder, "test/palette.png"))


def deep_png(side=32):
    """A 16-bit RGB PNG, which Pillow cannot write; another side than 32 is a lie of its header."""

    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", side, side, 16, 2, 0, 0, 0)
    rows = zlib.compress((b"\0" + b"\x12\x34" * 96) * 32)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", rows) + chunk(b"IEND", b"")


def save_bad(kind, path):
    rgb = Image.fromarray(pixels())
    if kind == "size":
        rgb.resize((31, 32)).save(path, "PNG")
    elif kind == "alpha":
        rgb.convert("RGBA").save(path, "PNG")
    elif kind == "palette":
        rgb.quantize(16).save(path, "PNG", transparency=0)
    elif kind == "keyed":
        rgb.save(path, "PNG", transparency=(1, 2, 3))
    elif kind == "grey16":
        Image.fromarray(np.zeros((32, 32), np.uint16)).save(path, "PNG")
    elif kind == "deep":
        path.write_bytes(deep_png())
    elif kind == "cmyk":
        rgb.convert("CMYK").save(path, "JPEG")
    elif kind == "grey-alpha":
        rgb.convert("LA").save(path, "PNG")
    elif kind == "floats":
        Image.fromarray(np.zeros((32, 32), np.float32)).save(path, "TIFF")
    elif kind == "bomb":
        path.write_bytes(deep_png(20_000))
    elif kind == "cut jpeg":
        rgb.save(path, "JPEG")
        path.write_bytes(path.read_bytes()[:-100])
    elif kind == "changed":
        rgb.save(path, "PNG")
        content = path.read_bytes()
        path.write_bytes(content[:500] + b"?" + content[501:])
    elif kind == "moving":
        rgb.save(path, "PNG", save_all=True, append_images=[Image.fromarray(pixels())])
    elif kind == "gif":
        rgb.save(path, "GIF")
    elif kind == "cut":
        rgb.save(path, "PNG")
        path.write_bytes(path.read_bytes()[:1500])
    elif kind == "link":
        path.symlink_to("nowhere.png")
    else:
        path.write_bytes(b"")


@pytest.mark.parametrize(
    ("kind", "reason"),
    [
        ("size", "31x32 pixels"),
        ("alpha", "the mode RGBA"),
        ("palette", "transparency"),
        ("keyed", "transparency"),
        ("grey16", "16-bit pixels"),
        ("deep", "16-bit pixels"),
        ("cmyk", "the mode CMYK"),
        ("moving", "several frames"),
        ("gif", "cannot be read as an image"),
        ("cut", "cannot be read as an image"),
        ("grey-alpha", "the mode LA"),
        ("floats", "cannot be read as an image"),
        ("bomb", "20000x20000 pixels|decompression bomb"),
        ("cut jpeg", "cannot be read as an image"),
        ("changed", "cannot be read as an image"),
        ("link", "cannot be read as an image .No such file"),
        ("empty", "cannot be read as an image"),
    ],
)
def test_unsuitable_images_are_named(folder, tmp_path, kind, reason):
    path = folder / "train" / "bad.png"
    save_bad(kind, path)
    with pytest.raises(UserError, match=reason) as caught:
        prepare(folder, tmp_path)
    assert str(path) in str(caught.value)
    assert list((tmp_path / "out").iterdir()) == []


def test_folders_that_are_missing_or_empty(folder, tmp_path):
    with pytest.raises(UserError, match="is not a directory; it must hold train/ and test/"):
        prepare(tmp_path / "none", tmp_path)
    (folder / "test" / "b.png").unlink()
    with pytest.raises(UserError, match=r"holds 9 images \(.*at least 10 are needed"):
        prepare(folder, tmp_path)


@pytest.mark.parametrize("name", [b"a\nb.png", b"a\x1b[31m.png", b"\xff.png"])
def test_names_that_no_message_could_show(folder, name):
    (folder / "train" / os.fsdecode(name)).write_bytes(b"x")
    with pytest.raises(UserError, match="with a control character, or one that is not UTF-8; rename it") as caught:
        list_images(folder, "train")
    assert str(caught.value).isprintable()


def test_names_may_have_any_other_character(folder, tmp_path):
    names = ["a b.png", "ärger 図.png", "a\u202fb.png", "👩\u200d🔬.png", "$(x);'\".png", "-rf.png"]
    for name in names:
        Image.fromarray(pixels()).save(folder / "train" / name)
    assert prepare(folder, tmp_path)["arrays"]["train"]["shape"][0] == 10 + len(names)
    assert content_hash(settings_of(folder), tmp_path / "c.json").startswith("folder-")


def test_a_pipe_is_not_waited_for(folder):
    os.mkfifo(folder / "train" / "pipe.png")
    with pytest.raises(UserError, match=r"pipe\.png is neither a file nor a folder"):
        list_images(folder, "train")


def test_the_fingerprint_follows_names_and_contents(folder, tmp_path):
    cache = tmp_path / "hashes.json"
    seen = [content_hash(settings_of(folder), cache)]
    assert content_hash(settings_of(folder), tmp_path / "other.json") == seen[0]
    Image.fromarray(pixels()).save(folder / "train" / "b.png")
    seen.append(content_hash(settings_of(folder), cache))
    (folder / "test" / "b.png").rename(folder / "test" / "c.png")
    seen.append(content_hash(settings_of(folder), cache))
    Image.fromarray(pixels()).save(folder / "test" / "d.png")
    seen.append(content_hash(settings_of(folder), cache))
    (folder / "test" / "d.png").unlink()
    assert content_hash(settings_of(folder), cache) == seen[2]
    assert len(set(seen)) == 4


def test_the_fingerprint_reads_only_what_changed(folder, tmp_path, monkeypatch):
    cache, read = tmp_path / "hashes.json", []
    original = fingerprint.sha256_file
    monkeypatch.setattr(fingerprint, "sha256_file", lambda path: read.append(path.name) or original(path))
    first = content_hash(settings_of(folder), cache)
    assert len(read) == 20
    read.clear()
    assert content_hash(settings_of(folder), cache) == first
    assert read == []
    os.utime(folder / "train" / "b.png", ns=(1, 1))
    assert content_hash(settings_of(folder), cache) == first
    assert read == ["b.png"]


@pytest.mark.parametrize("content", ["{", "[]", '{"folder": 1}', '{"folder": "/x", "images": {}}', "\x00"])
def test_a_damaged_cache_is_computed_again(folder, tmp_path, content):
    cache = tmp_path / "hashes.json"
    first = content_hash(settings_of(folder), cache)
    cache.write_text(content)
    assert content_hash(settings_of(folder), cache) == first


def test_the_cache_of_another_folder_is_not_believed(folder, tmp_path):
    cache = tmp_path / "hashes.json"
    first = content_hash(settings_of(folder), cache)
    other = folder.rename(tmp_path / "other")
    path = other / "train" / "b.png"
    status = path.stat()
    path.write_bytes(path.read_bytes()[:-1] + b"x")
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
    assert content_hash(settings_of(other), cache) != first


def test_fingerprint_errors(folder, tmp_path):
    with pytest.raises(UserError, match="is not a directory"):
        content_hash(settings_of(tmp_path / "none"), tmp_path / "c.json")
    (folder / "train" / "x.png").symlink_to("nowhere")
    with pytest.raises(UserError, match=r"Cannot read the image .*x\.png: No such file"):
        content_hash(settings_of(folder), tmp_path / "c.json")


def test_cifar10_needs_no_files_and_no_torch(tmp_path):
    text = content_hash(DatasetSettings(), tmp_path / "c.json")
    assert text == content_hash(DatasetSettings(archive="anything"), tmp_path / "c.json")
    assert text.startswith("cifar10-")
    assert list(tmp_path.iterdir()) == []
    code = "import sys, hybridflow.data.fingerprint; sys.exit(bool({'torch', 'numpy', 'PIL'} & sys.modules.keys()))"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
