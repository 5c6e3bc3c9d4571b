"""Servers for remotes on this machine's loopback address: S3 (moto, rclone), SSH and HTTP. Each ends with its block."""

from __future__ import annotations

import getpass
import json
import os
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

HOST = "127.0.0.1"
SSHD = shutil.which("sshd", path=f"{os.environ.get('PATH', os.defpath)}:/usr/sbin:/usr/local/sbin")
READ = ("s3:GetObject", "s3:ListBucket", "s3:GetBucketLocation")


@contextmanager
def running(command: Sequence[str], port: int, log: Path, **environment: str) -> Iterator[subprocess.Popen]:
    """Starts a server, waits until its port answers, and ends this process of it after the block."""
    with log.open("ab") as output:
        process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=output, stderr=output, env=os.environ | environment
        )
    try:
        deadline = time.monotonic() + 300  # machines may be busy
        while not _answers(port):
            if process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"{command[0]} does not listen: {log.read_text(errors='replace')[-2000:]}")
            time.sleep(0.05)
        yield process
    finally:
        process.terminate()
        process.wait(30)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        return probe.getsockname()[1]


def _answers(port: int) -> bool:
    with socket.socket() as probe:
        probe.settimeout(1)
        return probe.connect_ex((HOST, port)) == 0


@dataclass(frozen=True)
class S3:
    """An S3 server and how to reach it.

    Attributes:
        url: of its endpoint.
        no_settings: an empty file, in place of the settings that this machine's user may have.
        keys: access key and secret of a user who may do everything.
        reader: of one who may only read.
    """

    url: str
    no_settings: Path
    keys: tuple[str, str] = ("testing", "testing")
    reader: tuple[str, str] | None = None

    def client(self, service: str = "s3"):
        import boto3

        key, secret = self.keys
        return boto3.client(
            service, endpoint_url=self.url, aws_access_key_id=key, aws_secret_access_key=secret, region_name="us-east-1"
        )

    def environment(self, keys: tuple[str, str] | None) -> dict[str, str]:
        """The variables of a user with these keys, or with none and nowhere to find some."""
        names = ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY")
        return {
            "AWS_EC2_METADATA_DISABLED": "true",  # else the SDK asks the network for this machine's role
            "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
            "AWS_CONFIG_FILE": str(self.no_settings),
            "AWS_DEFAULT_REGION": "us-east-1",
        } | (dict(zip(names, keys, strict=True)) if keys else {})


@contextmanager
def moto(folder: Path) -> Iterator[S3]:
    """An S3 server in memory, with S3's own error answers, that checks keys and policies."""
    port = free_port()
    url = f"http://{HOST}:{port}"
    (folder / "aws.ini").touch()
    with running([sys.executable, "-m", "moto.server", "-H", HOST, "-p", str(port)], port, folder / "moto.log"):
        iam = S3(url, folder / "aws.ini").client("iam")
        server = S3(url, folder / "aws.ini", _user(iam, "writer", ("s3:*",)), _user(iam, "reader", READ))
        check = urllib.request.Request(f"{url}/moto-api/reset-auth", b"0", {"Content-Type": "text/plain"})
        urllib.request.urlopen(check).close()  # keys are checked from now on
        yield server


def _user(iam, name: str, actions: Sequence[str]) -> tuple[str, str]:
    allowed = {"Effect": "Allow", "Action": list(actions), "Resource": "*"}
    policy = {"Version": "2012-10-17", "Statement": [allowed]}
    iam.create_user(UserName=name)
    iam.put_user_policy(UserName=name, PolicyName=name, PolicyDocument=json.dumps(policy))
    made = iam.create_access_key(UserName=name)["AccessKey"]
    return made["AccessKeyId"], made["SecretAccessKey"]


@contextmanager
def rclone(folder: Path, *, keys: tuple[str, str] | None = ("key", "secret")) -> Iterator[S3]:
    """An S3 server over a folder, whose subfolders are buckets; without keys anybody may use it."""
    port = free_port()
    program = Path(sys.executable).with_name("rclone")
    command = [str(program), "serve", "s3", "--addr", f"{HOST}:{port}"]
    command += [*(["--auth-key", ",".join(keys)] if keys else []), str(folder / "buckets")]
    (folder / "buckets" / "bucket").mkdir(parents=True, exist_ok=True)
    (folder / "aws.ini").touch()
    with running(command, port, folder / "rclone.log", RCLONE_CONFIG=os.devnull):
        yield S3(f"http://{HOST}:{port}", folder / "aws.ini", keys or ("", ""))


@dataclass(frozen=True)
class SSH:
    """An SSH server of this user, for one key.

    Attributes:
        url: of the folder that it offers.
        key: the private key that it accepts; ``stranger`` is one that it does not.
    """

    url: str
    folder: Path
    key: Path
    stranger: Path


@contextmanager
def sshd(folder: Path, *, read_only: bool = False) -> Iterator[SSH]:
    """OpenSSH's server on an unprivileged port, with keys of its own; it serves a folder over SFTP."""
    port, names = free_port(), ("host", "user", "stranger")
    for name in (name for name in names if not (folder / name).exists()):
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", folder / name], check=True)
    (folder / "served").mkdir(exist_ok=True)
    settings = {
        "Port": port,
        "ListenAddress": HOST,
        "HostKey": folder / "host",
        "AuthorizedKeysFile": folder / "user.pub",
        "PidFile": "none",
        "StrictModes": "no",
        "PasswordAuthentication": "no",
        "KbdInteractiveAuthentication": "no",
        "UsePAM": "no",
        "Subsystem": "sftp internal-sftp" + (" -R" if read_only else ""),
    }
    (folder / "sshd_config").write_text("".join(f"{name} {value}\n" for name, value in settings.items()))
    if os.geteuid() == 0:
        Path("/run/sshd").mkdir(exist_ok=True)
    with running([SSHD, "-D", "-e", "-f", str(folder / "sshd_config")], port, folder / "sshd.log"):
        url = f"ssh://{getpass.getuser()}@{HOST}:{port}{folder}/served"
        yield SSH(url, folder / "served", folder / "user", folder / "stranger")


@contextmanager
def web(folder: Path) -> Iterator[str]:
    """A web server that only reads; yields its URL."""
    port = free_port()
    command = [sys.executable, "-m", "http.server", str(port), "--bind", HOST, "--directory", str(folder)]
    with running(command, port, folder.with_suffix(".log")):
        yield f"http://{HOST}:{port}/"
