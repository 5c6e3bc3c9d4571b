"""Downloads against a local server that resumes, ignores ranges, breaks off or lies."""

import hashlib
import os
import socket
import threading

import pytest
from web import serve

from hybridflow.io import download as module
from hybridflow.io.download import DownloadError, download, local_path
from hybridflow.runtime.errors import UserError

BODY = bytes(range(256)) * 2000
MD5 = hashlib.md5(BODY).hexdigest()
SHA256 = hashlib.sha256(BODY).hexdigest()


@pytest.fixture
def server(monkeypatch):
    monkeypatch.setenv("no_proxy", "*")
    monkeypatch.setattr(module, "PAUSE", 0.0)
    with serve(BODY) as running:
        yield running


def partial_of(target):
    return target.with_name(target.name + ".partial")


@pytest.mark.parametrize("checks", [{}, {"md5": MD5}, {"sha256": SHA256}, {"sha256": SHA256[:8]}])
def test_the_file_arrives_and_is_not_fetched_twice(server, tmp_path, checks):
    target = tmp_path / "new" / "file.bin"
    assert download(server.url, target, **checks) == target
    download(server.url, target, **checks)
    assert target.read_bytes() == BODY
    assert len(server.requests) == 1
    assert not partial_of(target).exists()


def test_a_damaged_target_is_fetched_again(server, tmp_path):
    target = tmp_path / "file.bin"
    target.write_bytes(BODY[:-1])
    download(server.url, target, md5=MD5)
    assert target.read_bytes() == BODY


def test_a_break_is_resumed_where_it_happened(server, tmp_path):
    server.cut, server.cuts = 100_000, 2
    target = download(server.url, tmp_path / "file.bin", md5=MD5)
    assert target.read_bytes() == BODY
    assert [asked for _, asked in server.requests] == [None, "bytes=100000-", "bytes=200000-"]


def test_without_a_checksum_a_break_starts_from_zero(server, tmp_path):
    server.cut, server.cuts = 100_000, 1
    target = download(server.url, tmp_path / "file.bin")
    assert target.read_bytes() == BODY
    assert [asked for _, asked in server.requests] == [None, None]


def test_an_interrupted_download_is_continued_by_the_next_call(server, tmp_path):
    server.cut, server.cuts = 50_000, module.RETRIES + 1
    target = tmp_path / "file.bin"
    with pytest.raises(DownloadError, match=r"Cannot download weights from http.*broke after .* of 512000 bytes"):
        download(server.url, target, md5=MD5, label="weights")
    assert not target.exists()
    kept = partial_of(target).stat().st_size
    assert kept == 50_000 * (module.RETRIES + 1)
    server.requests.clear()
    assert download(server.url, target, md5=MD5).read_bytes() == BODY
    assert server.requests == [("/file.bin", f"bytes={kept}-")]


def test_a_server_without_ranges_starts_from_zero(server, tmp_path):
    server.ranges = False
    target = tmp_path / "file.bin"
    partial_of(target).write_bytes(BODY[:1000])
    assert download(server.url, target, sha256=SHA256).read_bytes() == BODY


@pytest.mark.parametrize("stale", [b"x" * 1000, b"x" * len(BODY), b"x" * 2 * len(BODY)])
def test_a_stale_part_is_thrown_away(server, tmp_path, stale):
    target = tmp_path / "file.bin"
    partial_of(target).write_bytes(stale)
    assert download(server.url, target, md5=MD5).read_bytes() == BODY
    assert [asked for _, asked in server.requests] == [f"bytes={len(stale)}-", None]


def test_a_part_that_is_already_whole_needs_only_its_name(server, tmp_path):
    target = tmp_path / "file.bin"
    partial_of(target).write_bytes(BODY)
    assert download(server.url, target, md5=MD5).read_bytes() == BODY
    assert not partial_of(target).exists()


def test_a_wrong_checksum_leaves_nothing(server, tmp_path):
    target = tmp_path / "file.bin"
    with pytest.raises(DownloadError, match=r"MD5 .* instead of 0000"):
        download(server.url, target, md5="0" * 32)
    assert not target.exists()
    assert not partial_of(target).exists()
    assert len(server.requests) == 1


def test_refusals_are_one_sentence(server, tmp_path):
    with pytest.raises(DownloadError, match=r"answered 404 Not Found; check the address"):
        download(server.url + "x", tmp_path / "file.bin")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    with pytest.raises(DownloadError, match="Connection refused"):
        download(f"http://127.0.0.1:{port}/a", tmp_path / "file.bin")
    for url in ("http://", "http://[/a", "http://127.0.0.1/a b"):
        with pytest.raises(UserError, match=r"Cannot download file\.bin"):
            download(url, tmp_path / "file.bin")


def test_a_silent_server_times_out(tmp_path, monkeypatch):
    monkeypatch.setenv("no_proxy", "*")
    monkeypatch.setattr(module, "TIMEOUT", 0.1)
    with socket.create_server(("127.0.0.1", 0)) as deaf, pytest.raises(DownloadError, match="timed out"):
        download(f"http://127.0.0.1:{deaf.getsockname()[1]}/a", tmp_path / "file.bin")


def test_redirects_stay_within_http(server, tmp_path):
    base = server.url.removesuffix("/file.bin")
    assert download(base + "/moved", tmp_path / "a").read_bytes() == BODY
    with pytest.raises(DownloadError):
        download(base + "/elsewhere", tmp_path / "b")
    assert not (tmp_path / "b").exists()


def test_file_urls(tmp_path):
    source = tmp_path / "quelle ü.bin"
    source.write_bytes(BODY)
    assert local_path(source.as_uri()) == source
    partial_of(tmp_path / "file.bin").write_bytes(b"stale")
    assert download(source.as_uri(), tmp_path / "file.bin", md5=MD5).read_bytes() == BODY
    with pytest.raises(DownloadError, match="No such file"):
        download((tmp_path / "none").as_uri(), tmp_path / "other.bin")
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(DownloadError, match="not a regular file"):
        download((tmp_path / "pipe").as_uri(), tmp_path / "other.bin")
    with pytest.raises(UserError, match="must start with https"):
        download("ftp://host/file", tmp_path / "other.bin")


def test_an_unwritable_place_is_a_sentence(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="Cannot write") as caught:
        download("file:///nothing", tmp_path / "file" / "target")
    assert not isinstance(caught.value, DownloadError)


def test_parallel_downloads_wait_for_each_other(server, tmp_path):
    target = tmp_path / "file.bin"
    threads = [threading.Thread(target=download, args=(server.url, target), kwargs={"md5": MD5}) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert target.read_bytes() == BODY
    assert len(server.requests) == 1
