"""Publishing and pulling: fresh clones, a training at the same time, newer work, damage on either side."""

from __future__ import annotations

import re
import shutil
import sys
from pathlib import Path

import pytest
from checkout import Project, write_dataset
from runs import Run, wait_until

from hybridflow.io.files import read_json
from hybridflow.io.records import write_record

pytestmark = pytest.mark.workflow
TARGET = "results/micro/baseline/seed0/checkpoint.safetensors"


TRAIN = (sys.executable, "-m", "snakemake", TARGET, "--cores", "1", "--configfile", "micro.yaml")


@pytest.fixture(scope="module")
def published(finished, tmp_path_factory) -> Project:
    """A checkout whose results are published."""
    project = finished.copy(tmp_path_factory.mktemp("published") / "project")
    project.write("published.txt", project.hybridflow("publish"))
    return project


def stored(project: Project, suffix: str = ".safetensors") -> Path:
    (path,) = (project.path / "store").glob(f"baseline-*{suffix}")
    return path


def test_publish_says_what_it_pushed_and_what_to_commit(published, tmp_path):
    said = published.read("published.txt")
    assert re.search(r"^  store/baseline-seed0-\w+\.safetensors  \(0\.\d MB\)$", said, re.MULTILINE)
    (add,) = re.findall(r"^  (git add .*)$", said, re.MULTILINE)
    made = "two models of three files, a classifier, two moments of two, a calibration of one; no features"
    assert add.count(".dvc") == 13, made
    assert add.endswith(" dvc-remote")
    assert "there is no remote 'nowhere'; `dvc remote list` names" in published.hybridflow(
        "publish", "--remote", "nowhere", check=False
    )


def test_every_published_variant_gets_a_card(published, tmp_path):
    project = published.copy(tmp_path / "project")
    cards = project.hybridflow("cards").splitlines()
    assert cards == ["results/micro/cards/baseline.md", "results/micro/cards/dcgan-0.5.md"]
    assert f'"{stored(published).relative_to(published.path)}"' in project.read(cards[0])
    (project.path / "results/micro/baseline/seed0/fidelity.json").unlink()
    sentence = project.hybridflow("cards", check=False)
    assert sentence == "error: results/micro/baseline/seed0/fidelity.json is missing; run the workflow again.\n"


def test_publish_refuses_a_damaged_result(published, tmp_path):
    project = published.copy(tmp_path / "project")
    path = stored(project, ".jsonl")
    path.chmod(0o644)
    path.write_text(path.read_text().replace("1", "2", 1))
    before = sorted((project.path / "dvc-remote").rglob("*"))
    said = project.hybridflow("publish", check=False)
    assert f"error: store/{path.name} is damaged or was exchanged" in said
    assert "pushed" not in said
    assert sorted((project.path / "dvc-remote").rglob("*")) == before


def test_a_fresh_clone_pulls_and_trains_nothing(published, finished, tmp_path):
    origin = published.copy(tmp_path / "origin")
    origin.git("add", "--all")
    origin.git("commit", "--quiet", "--message", "publish")
    assert not origin.git("ls-files", "store/*.safetensors").strip()
    origin.run("git", "clone", "--quiet", str(origin.path), str(tmp_path / "clone"))
    clone = Project(tmp_path / "clone")
    assert "published but not pulled" in clone.hybridflow("status")
    write_dataset(clone)  # newer than every checkpoint
    clone.dvc("pull")
    clone.write("more.yaml", "seeds: [0, 1]")
    assert "to be computed: baseline-seed1-" in clone.hybridflow("status", "more.yaml")
    names = ("results/micro/baseline/seed0/samples.npy", "results/micro/dcgan-0.5/seed0/checkpoint.safetensors")
    output = clone.run(*TRAIN[:3], *names, *TRAIN[4:]).stdout
    assert output.count("found in the store under") == 2
    assert "steps/s" not in output
    for name in names:
        assert (clone.path / name).read_bytes() == (finished.path / name).read_bytes(), name


@pytest.mark.slow
def test_an_archive_without_git_can_pull(project):
    shutil.rmtree(project.path / ".git")
    project.write("installed", "")  # newer than pyproject.toml: nothing must be installed into this environment
    project.run("make", "pull", f"BIN={Path(sys.executable).parent}", "INSTALLED=installed")
    assert not (project.path / ".venv").exists()
    assert list((project.path / "store").glob("baseline-seed0-*.safetensors"))


@pytest.mark.slow
def test_pull_while_a_training_writes_the_same_entry(published, tmp_path):
    project = published.copy(tmp_path / "project")
    expected = stored(project).read_bytes()
    for suffix in (".safetensors", ".jsonl", ".json"):
        stored(project, suffix).unlink()
    shutil.rmtree(project.path / "results" / "micro" / "baseline")
    project.write("often.yaml", "training: {resume_every_minutes: 1.0e-6, log_every: 1}")
    run = Run(project, tmp_path / "output", (*TRAIN[3:], "often.yaml"))
    wait_until(lambda: list((project.path / "store").glob("baseline-*.resume-*.json")), "a saved state")
    done = project.dvc("pull", check=False)
    # The history that the training writes is not what was published: DVC does not touch it.
    assert run.wait() == 0, run.text()
    assert "Traceback" not in done.stdout
    assert stored(project).read_bytes() == expected
    assert (project.path / TARGET).read_bytes() == expected
    again = project.run(*TRAIN, "often.yaml")
    assert "Nothing to be done" in again.stdout


def test_pull_does_not_take_newer_work_away(published, tmp_path):
    project = published.copy(tmp_path / "project")
    path = stored(project)
    path.chmod(0o644)
    path.write_bytes(b"newer work that nobody published")
    done = project.dvc("pull", check=False)
    assert done.returncode != 0
    assert "unsaved files" in done.stdout
    assert path.name in done.stdout
    assert path.read_bytes() == b"newer work that nobody published"
    assert project.hybridflow("pull") == "pulled: 0 of 7 results; 7 were here\n"
    assert path.read_bytes() == b"newer work that nobody published"


def test_a_damaged_object_of_the_remote_does_not_get_into_the_store(published, tmp_path):
    project = published.copy(tmp_path / "project")
    path = stored(project)
    content = path.read_bytes()
    path.unlink()
    shutil.rmtree(project.path / ".dvc" / "cache")
    (remote,) = (o for o in (project.path / "dvc-remote").rglob("*") if o.is_file() and o.read_bytes() == content)
    remote.chmod(0o644)
    remote.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    remote.chmod(0o444)  # as DVC leaves it, which it takes for a sign of soundness unless told to verify
    assert project.dvc("pull", f"{path}.dvc", check=False).returncode != 0
    assert not path.exists()


def compute_again(project: Project) -> Path:
    """Gives the baseline's history other content, as a training with other bits would; returns its ``.dvc`` file."""
    history, record = stored(project, ".jsonl"), stored(project, ".json")
    content = history.read_text() + "\n"
    history.unlink()  # it may be a link into DVC's cache
    history.write_text(content)
    values = {name: value for name, value in read_json(record).items() if name not in ("files", "record_sha256")}
    record.unlink()
    write_record(record, values, [stored(project), history])
    return history.with_name(history.name + ".dvc")


def notes(project: Project) -> dict[str, str]:
    return {path.name: path.read_text() for path in (project.path / "store").glob("*.dvc")}


def test_publishing_elsewhere_leaves_what_is_published_where_it_is(published, tmp_path):
    project = published.copy(tmp_path / "project")
    project.dvc("remote", "add", "elsewhere", str(tmp_path / "elsewhere"))
    before = notes(project)
    said = project.hybridflow("publish", "--remote", "elsewhere")
    assert "already published: 6 of 6 results" in said
    assert "pushed" not in said
    assert notes(project) == before
    note = compute_again(project)
    said = project.hybridflow("publish", "--remote", "elsewhere")
    assert said.count(" MB)") == 3
    assert "already published: 5 of 6 results" in said
    changed = {name for name, text in notes(project).items() if text != before[name]}
    assert changed == {path.name for path in note.parent.glob("baseline-seed0-*.dvc") if path.with_suffix("").exists()}
    assert all("remote: elsewhere" in notes(project)[name] for name in changed)


def test_a_push_that_fails_leaves_the_notes_as_they_were(published, tmp_path):
    project = published.copy(tmp_path / "project")
    (tmp_path / "file").touch()
    project.dvc("remote", "add", "refuses", str(tmp_path / "file" / "folder"))
    compute_again(project)
    for note in (project.path / "store").glob("dcgan-0.5-*.dvc"):
        if note.with_suffix("").exists():
            note.unlink()
    before = notes(project)
    assert "error: publish: " in project.hybridflow("publish", "--remote", "refuses", check=False)
    assert notes(project) == before


def test_pull_leaves_out_what_is_begun_here(published, tmp_path):
    project = published.copy(tmp_path / "project")
    history, weights, record = (stored(project, suffix) for suffix in (".jsonl", ".safetensors", ".json"))
    moments = next((project.path / "store").glob("moments-*.npz"))
    expected = history.read_bytes()
    for path in (history, weights, record, moments):
        path.unlink()
    history.write_text('{"step": 10}\n')
    said = project.hybridflow("pull")
    assert said.startswith("pulled: 1 of 7 results; 5 were here\nleft out, because begun here: baseline-seed0-")
    assert moments.exists()
    assert history.read_text() == '{"step": 10}\n'
    (command,) = re.findall(r"`(rm .*)` and pull again$", said, re.MULTILINE)
    project.run("sh", "-c", command)
    assert project.hybridflow("pull") == "pulled: 1 of 7 results; 6 were here\n"
    assert history.read_bytes() == expected
    weights.unlink()  # as a pull that was killed leaves it: what is here is what is published
    assert project.hybridflow("pull") == "pulled: 1 of 7 results; 6 were here\n"


def test_pull_without_a_default_remote(published, tmp_path):
    project = published.copy(tmp_path / "project")
    project.dvc("config", "--unset", "core.remote")
    stored(project).unlink()
    said = project.hybridflow("pull", check=False)
    assert said == "error: pull: DVC has no default remote; name one with `dvc remote default NAME`.\n"


def test_half_an_entry_from_each_side_is_named(published, tmp_path):
    """A training that was killed after `dvc pull` had brought the finished weights: its history is shorter."""
    project = published.copy(tmp_path / "project")
    history = stored(project, ".jsonl")
    whole = history.read_bytes()
    history.unlink()
    history.write_bytes(b"".join(whole.splitlines(keepends=True)[:-1]))
    (project.path / TARGET).unlink()
    said = project.run(*TRAIN, check=False).stdout
    name = f"store/{history.name}"
    assert f"error: {name} is damaged or was exchanged: store/{stored(project, '.json').name} describes" in said
    assert "Traceback" not in said
    do_what_it_says(project, said)
    project.run(*TRAIN)
    assert (project.path / TARGET).read_bytes() == stored(project).read_bytes()
    assert history.read_bytes() == whole


def test_the_published_entry_comes_back_in_place_of_an_own_one_that_is_damaged(published, tmp_path):
    """The history alone would not fit the record of the training here."""
    project = published.copy(tmp_path / "project")
    whole = stored(project, ".jsonl").read_bytes()
    compute_again(project)
    stored(project, ".jsonl").write_text("damaged")
    (project.path / TARGET).unlink()
    do_what_it_says(project, project.run(*TRAIN, check=False).stdout)
    project.run(*TRAIN)
    assert stored(project, ".jsonl").read_bytes() == whole


def do_what_it_says(project: Project, said: str) -> None:
    (command,) = set(re.findall(r"bring the published one back with `(rm .* && dvc pull .*)`", said))
    project.run("sh", "-c", command.replace("dvc pull", f"{sys.executable} -m dvc pull"))
