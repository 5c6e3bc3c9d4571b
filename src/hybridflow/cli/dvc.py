"""DVC as a command, and what its errors mean: the reason and the way to mend it, in one sentence."""

from __future__ import annotations

import re
import subprocess
import sys

from hybridflow.runtime.errors import UserError

LAST_LINES = 4
"""As many lines of a failed command are shown if we do not know what they mean; its reason is in the last ones."""

MEANINGS = {
    r"requires '([\w-]+)' to be installed": "needs a package that is not here; `pip install {0}` installs it",
    r"Unable to locate credentials": "needs credentials and there are none; set AWS_ACCESS_KEY_ID and "
    "AWS_SECRET_ACCESS_KEY, or for a public bucket `dvc remote modify --local {name} allow_anonymous_login true`",
    r"InvalidAccessKeyId|SignatureDoesNotMatch|\(403\)": "does not accept these credentials; check AWS_ACCESS_KEY_ID "
    "and AWS_SECRET_ACCESS_KEY, or the profile that `dvc remote modify {name} profile` names",
    r"AccessDenied.*?calling the (\w+)": "does not allow {0} to these credentials; ask its owner for that right, or "
    "name another remote with --remote",
    r"NoSuchBucket": "is a bucket that does not exist; create it, or correct the address with "
    "`dvc remote modify {name} url s3://BUCKET/FOLDER`",
    r"Permission denied for user (\S+)": "does not accept this SSH key for the user {0}; name the right one with "
    "`dvc remote modify --local {name} keyfile PATH`, or load it into ssh-agent",
    r"connect to the endpoint|Connect call failed|Connection refused|Cannot connect|timed? ?out": "does not answer; "
    "check that its server runs, and its address: `dvc remote list`",
    r"Name or service not known|name resolution": "has a host that nobody knows; check its spelling "
    "(`dvc remote list`) and the network",
    r"50[13]\D.*Unsupported|Method Not Allowed|\b40[35], message": "only reads over HTTP; publish where its files "
    "come from (a bucket, a folder behind SSH), with --remote",
    r"Permission denied|Read-only file system": "may not be written by this user; ask its owner for that right, or "
    "name another remote with --remote",
    r"[Mm]issing[- ](cache )?files": "lacks some of these files, or over HTTP does not answer; "
    "`dvc status --cloud --remote {name}` names them, and `dvc push` of who has them brings them there",
}
"""Regular expressions of what DVC 3 and its plugins print, and the meaning; the first that is found counts."""


def run_dvc(command: str, *arguments: str, remote: str | None = None) -> str:
    """The output of a dvc command.

    Args:
        command: of ours, for the error.
        remote: whose files are moved, for the error.

    Raises:
        UserError: it fails; a known reason is a sentence with its repair, another is in dvc's own last lines.
    """
    done = subprocess.run([sys.executable, "-m", "dvc", *arguments], capture_output=True, text=True, check=False)
    if done.returncode == 0:
        return done.stdout
    printed = f"{done.stdout}\n{done.stderr}"
    if remote is not None and (meaning := explain(printed, remote)):
        raise UserError(f"{command}: the remote {remote!r} {meaning}.")
    lines = [line for line in printed.splitlines() if line.strip() and "any troubles" not in line]
    raise UserError(f"{command}: `dvc {arguments[0]}` failed and says:" + "\n  ".join(["", *lines[-LAST_LINES:]]))


def explain(printed: str, remote: str) -> str | None:
    """What an error of DVC means for a remote, or None for one that is not known."""
    for pattern, meaning in MEANINGS.items():
        if found := re.search(pattern, printed):
            return meaning.format(*found.groups(), name=remote)
    return None
