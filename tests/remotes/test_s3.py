"""Publishing to S3 and pulling from it: who may, who may not, and what is said."""

from __future__ import annotations

import os
import signal
import subprocess
import sys

import pytest
from checkout import Project
from published import add_remote, forget, hybridflow, stored_bytes
from runs import wait_until
from servers import S3, moto, rclone

pytestmark = pytest.mark.remotes


@pytest.fixture(scope="module")
def s3(tmp_path_factory) -> S3:
    with moto(tmp_path_factory.mktemp("moto")) as server:
        server.client().create_bucket(Bucket="bucket")
        yield server


@pytest.fixture
def project(project: Project, s3: S3) -> Project:
    for name, bucket in (("bucket", "bucket"), ("typo", "buckte")):
        add_remote(project, name, f"s3://{bucket}/hybridflow", endpointurl=s3.url)
    return project


def test_one_may_write_and_another_read(project: Project, s3: S3):
    before = stored_bytes(project)
    reader, writer = s3.environment(s3.reader), s3.environment(s3.keys)

    said = hybridflow(project, "publish", "--remote", "bucket", env=reader)
    assert said == (
        "error: publish: the remote 'bucket' does not allow PutObject to these credentials; "
        "ask its owner for that right, or name another remote with --remote.\n"
    )
    assert "Contents" not in s3.client().list_objects_v2(Bucket="bucket")
    assert "pushed to the remote 'bucket'" in hybridflow(project, "publish", "--remote", "bucket", env=writer)

    forget(project)
    said = hybridflow(project, "pull", env=s3.environment((s3.keys[0], "wrong")))
    assert "error: pull: the remote 'bucket' does not accept these credentials; check AWS_ACCESS_KEY_ID" in said
    assert hybridflow(project, "pull", env=reader) == "pulled: 1 of 7 results; the others are not published\n"
    assert stored_bytes(project) == before
    assert (
        "Cache and remote 'bucket' are in sync"
        in project.run(
            sys.executable, "-m", "dvc", "status", "--cloud", "--remote", "bucket", env=project.environment(**reader)
        ).stdout
    )


@pytest.mark.parametrize(
    ("remote", "keys", "reason"),
    [
        ("bucket", None, "needs credentials and there are none; set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY"),
        ("bucket", ("AKIAUNKNOWNUNKNOWN00", "secret"), "does not accept these credentials; check AWS_ACCESS_KEY_ID"),
        ("typo", "writer", "is a bucket that does not exist; create it, or correct the address with"),
    ],
)
def test_reasons(project: Project, s3: S3, remote: str, keys, reason: str):
    environment = s3.environment(s3.keys if keys == "writer" else keys)
    said = hybridflow(project, "publish", "--remote", remote, env=environment)
    assert said.startswith(f"error: publish: the remote {remote!r} {reason}")
    assert said.count("\n") == 1


def test_a_server_that_is_down(project: Project, s3: S3):
    add_remote(project, "bucket", "s3://bucket/hybridflow", endpointurl="http://127.0.0.1:9")
    said = hybridflow(project, "publish", "--remote", "bucket", env=s3.environment(s3.keys))
    assert said.startswith("error: publish: the remote 'bucket' does not answer; check that its server runs")


def test_an_upload_that_is_killed_goes_on_with_the_next(project: Project, s3: S3):
    """Nothing partial is under an object's name; of the killed upload, parts remain that a bucket's rule can drop."""
    client = s3.client()
    client.create_bucket(Bucket="large")
    add_remote(project, "bucket", "s3://large/hybridflow", endpointurl=s3.url)
    large = next((project.path / "store").glob("baseline-*.safetensors"))
    large.write_bytes(os.urandom(1 << 20) * 130)  # more than 100 MiB go in parts
    project.dvc("add", str(large))
    environment = project.environment(**s3.environment(s3.keys))
    push = [sys.executable, "-m", "dvc", "push", "--remote", "bucket", f"{large}.dvc"]
    process = subprocess.Popen(
        push, cwd=project.path, env=environment, stdout=subprocess.DEVNULL, start_new_session=True
    )
    wait_until(lambda: client.list_multipart_uploads(Bucket="large").get("Uploads"), "an upload in parts")
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    assert "Contents" not in client.list_objects_v2(Bucket="large")

    project.run(*push, env=environment)
    (found,) = client.list_objects_v2(Bucket="large")["Contents"]
    assert found["Size"] == large.stat().st_size


def test_readers_need_no_account(project: Project, tmp_path):
    """The committed address is for readers, over HTTP; who publishes has the bucket's in a local setting."""
    before = stored_bytes(project)
    with rclone(tmp_path) as private:
        add_remote(project, "weights", f"{private.url}/bucket/hybridflow")
        add_remote(project, "weights", "s3://bucket/hybridflow", endpointurl=private.url, local=True)
        hybridflow(project, "publish", "--remote", "weights", env=private.environment(private.keys))
    with rclone(tmp_path, keys=None) as public:
        (project.path / ".dvc" / "config.local").unlink()
        add_remote(project, "weights", f"{public.url}/bucket/hybridflow")
        forget(project)
        hybridflow(project, "pull", env=public.environment(None))
        assert stored_bytes(project) == before

        add_remote(project, "weights", "s3://bucket/hybridflow", endpointurl=public.url)
        forget(project)
        said = hybridflow(project, "pull", env=public.environment(None))
        assert "for a public bucket `dvc remote modify --local weights allow_anonymous_login true`" in said
        project.dvc("remote", "modify", "--local", "weights", "allow_anonymous_login", "true")  # as it says
        hybridflow(project, "pull", env=public.environment(None))
        assert stored_bytes(project) == before
