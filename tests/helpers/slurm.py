"""A Slurm of one node on this machine's loopback, with two GPUs that are only names, for the tests of the profile."""

from __future__ import annotations

import os
import re
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

PACKAGES = ("slurmctld", "slurmd", "slurm-client", "munge", "slurm-wlm-basic-plugins")
ETC = Path("/etc/slurm")  # the plugin's job steps drop SLURM_CONF: the configuration must lie where Slurm looks itself
FILES = ("slurm.conf", "gres.conf")

CONFIGURATION = """\
ClusterName={cluster}
SlurmctldHost=localhost
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
AuthInfo=socket={folder}/munge.socket
SlurmctldPort={controller_port}
SlurmdPort={node_port}
CommunicationParameters=NoCtldInAddrAny,NoInAddrAny
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.pid
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
MpiDefault=none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core_Memory
AccountingStorageType=accounting_storage/none
JobCompType=jobcomp/filetxt
JobCompLoc={folder}/ended.txt
SchedulerParameters=sched_interval=2,bf_interval=2
ReturnToService=2
KillWait=30
MinJobAge=600
GresTypes=gpu
SlurmdParameters=config_overrides
NodeName=localhost NodeAddr=127.0.0.1 NodeHostname={host} CPUs=4 RealMemory=16000 Gres=gpu:2 State=UNKNOWN
PartitionName=main Nodes=localhost Default=YES MaxTime=INFINITE DefaultTime=01:00:00 State=UP
"""


class Unavailable(Exception):
    """Why there can be no Slurm here, in a sentence."""


@dataclass(frozen=True)
class SlurmJob:
    """What the controller says of a job.

    Attributes:
        number: its id.
        state: ``PENDING``, ``RUNNING``, ``CANCELLED``, ...
        rule: the rule it was submitted for, with wildcards.
        gpus: host numbers of its GPUs.
    """

    number: int
    state: str
    rule: str
    gpus: frozenset[int]


class Slurm:
    """The running cluster.

    Args:
        folder: of all its files.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def __call__(self, *command: str) -> str:
        """Runs one of Slurm's commands and returns its output."""
        done = subprocess.run(command, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        return done.stdout

    def jobs(self) -> list[SlurmJob]:
        """All jobs since the start, in the order of submission."""
        blocks = self("scontrol", "show", "job", "--details").split("\n\n")
        return sorted((_job(block) for block in blocks if "JobId=" in block), key=lambda job: job.number)

    def job(self, number: int) -> SlurmJob:
        return next(job for job in self.jobs() if job.number == number)

    def ended(self) -> list[str]:
        """End states in order; a job that was requeued has several."""
        return re.findall(r"JobState=(\w+)", (self.folder / "ended.txt").read_text())


def _job(block: str) -> SlurmJob:
    fields = dict(re.findall(r"(\w+)=(\S+)", block))
    gpus = re.search(r"GRES=gpu(?::\w+)?:\d+\(IDX:([\d,-]+)\)", block)
    return SlurmJob(int(fields["JobId"]), fields["JobState"], fields.get("Comment", ""), _numbers(gpus))


def _numbers(found: re.Match | None) -> frozenset[int]:
    """``0-2,5`` as numbers."""
    spans = [part.split("-") for part in found[1].split(",")] if found else []
    return frozenset(number for span in spans for number in range(int(span[0]), int(span[-1]) + 1))


@contextmanager
def slurm(folder: Path) -> Iterator[Slurm]:
    """Starts munge, slurmctld and slurmd; ends them and their jobs, and removes what lies outside of ``folder``.

    Raises:
        Unavailable: it needs root, packages that cannot be installed, or this machine has a Slurm of its own.
    """
    _require()
    with ExitStack() as stack:
        for name in ("state", "spool"):
            (folder / name).mkdir(parents=True)
        key, devices = folder / "munge.key", [folder / f"nvidia{index}" for index in range(2)]
        key.touch(mode=0o400)
        key.write_bytes(os.urandom(1024))
        for index, device in enumerate(devices):
            try:
                os.mknod(device, 0o20600, os.makedev(195, index))
            except PermissionError:
                raise Unavailable("Slurm takes only device files for GPUs, and this root may not make any") from None
        ports = {f"{name}_port": _free_port() for name in ("controller", "node")}
        cluster = f"loopback{ports['node_port']}"
        text = CONFIGURATION.format(folder=folder, cluster=cluster, host=socket.gethostname(), **ports)
        (folder / "slurm.conf").write_text(text)
        (folder / "gres.conf").write_text(f"AutoDetect=off\nNodeName=localhost Name=gpu File={folder}/nvidia[0-1]\n")
        for name in FILES:
            (ETC / name).symlink_to(folder / name)
            stack.callback((ETC / name).unlink)
        munge = [
            f"--{what}={folder}/munge.{what.split('-')[0]}" for what in ("key-file", "socket", "pid-file", "seed-file")
        ]
        stack.enter_context(_daemon(folder, "munged", "--foreground", "--force", *munge))
        _wait(lambda: (folder / "munge.socket").exists(), folder)
        stack.enter_context(_daemon(folder, "slurmctld", "-D"))
        _wait(lambda: _answers("scontrol", "ping"), folder)
        stack.enter_context(_daemon(folder, "slurmd", "-D", "-N", "localhost"))
        _wait(lambda: "idle" in _answers("sinfo", "--noheader", "--format=%t"), folder)
        stack.callback(_end_jobs, cluster, folder)
        yield Slurm(folder)


def _require() -> None:
    """Installs what is missing.

    Raises:
        Unavailable: that is not possible.
    """
    if os.getuid() != 0:
        raise Unavailable("a Slurm of one's own can be started by root only")
    missing = not all(shutil.which(name) for name in ("slurmctld", "slurmd", "sbatch", "munged"))
    if missing:
        if not shutil.which("apt-get"):
            raise Unavailable(f"install Slurm and munge first (Debian's packages: {' '.join(PACKAGES)})")
        subprocess.run(["apt-get", "update", "-qq"], check=True)
        quiet = ["-y", "-qq", "--no-install-recommends"]
        environment = os.environ | {"DEBIAN_FRONTEND": "noninteractive"}
        subprocess.run(
            ["apt-get", "install", *quiet, *PACKAGES], check=True, env=environment, stdout=subprocess.DEVNULL
        )
    present = [str(ETC / name) for name in FILES if (ETC / name).is_symlink() or (ETC / name).exists()]
    if present:
        raise Unavailable(f"this machine has a Slurm of its own, or a killed test left {present[0]}: remove it then")


@contextmanager
def _daemon(folder: Path, *command: str) -> Iterator[None]:
    with (folder / f"{command[0]}.log").open("w") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log, stdin=subprocess.DEVNULL)
        try:
            yield
        finally:
            process.terminate()
            try:
                process.wait(20)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def _end_jobs(cluster: str, folder: Path) -> None:
    """Cancels all jobs and waits for them.

    Slurm tracks a job's processes by their parents here, not by cgroups, and may lose one that has lost its parent.
    """
    subprocess.run(["scancel", "--user=root"], capture_output=True)
    _wait(lambda: not _answers("squeue", "--noheader"), folder)
    for entry in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):  # it has ended
            if f"SLURM_CLUSTER_NAME={cluster}\0".encode() in (entry / "environ").read_bytes():
                os.kill(int(entry.name), signal.SIGKILL)


def _answers(*command: str) -> str:
    done = subprocess.run(command, capture_output=True, text=True)
    return done.stdout.strip() if done.returncode == 0 else ""


def _wait(happened, folder: Path, seconds: float = 60) -> None:
    deadline = time.monotonic() + seconds
    while not happened():
        if time.monotonic() > deadline:
            logs = [f"{path.name}:\n{path.read_text()[-1500:]}" for path in folder.glob("*.log")]
            raise TimeoutError("Slurm does not come up, or down:\n" + "\n".join(logs))
        time.sleep(0.2)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]
