"""What is refused before the first job, because a later one could not use it."""

import subprocess
import sys

import pytest

from hybridflow.config.loading import parse_settings
from hybridflow.data.inputs import check_inputs
from hybridflow.runtime.errors import UserError


def settings(**sections):
    return parse_settings(
        {"experiment": "test", "variants": {"a": {}, "b": {"training": {"batch_size": 100}}}} | sections
    )


def test_what_every_batch_needs_must_be_left():
    check_inputs(settings(dataset={"holdout": 49_900}))
    with pytest.raises(
        UserError, match=r"holdout` is 49901, which leaves 99 of 50000 .* variant 'b' has 100; hold out"
    ):
        check_inputs(settings(dataset={"holdout": 49_901}))
    with pytest.raises(UserError, match="leaves 0 of 50000"):
        check_inputs(settings(dataset={"holdout": 10**9}))


def test_images_of_a_folder_are_counted(tmp_path):
    for split in ("train", "test"):
        (tmp_path / split).mkdir()
        for number in range(102):
            (tmp_path / split / f"{number}.png").touch()
    own = {"source": "folder", "folder": str(tmp_path)}
    metrics = {"evaluation": {"metrics": []}}
    check_inputs(settings(dataset=own | {"holdout": 2}, **metrics))
    with pytest.raises(UserError, match="leaves 99 of 102"):
        check_inputs(settings(dataset=own | {"holdout": 3}, **metrics))
    with pytest.raises(UserError, match="must hold train/ and test/"):
        check_inputs(settings(dataset=own | {"folder": str(tmp_path / "train")}, **metrics))


def test_weights_must_be_there(tmp_path):
    def named(weights):
        return settings(evaluation={"extractors": {"inception": {"weights": weights}}})

    file = tmp_path / "weights ü.pth"
    for weights in (str(file), file.as_uri(), str(tmp_path)):
        with pytest.raises(UserError, match=r"`evaluation.extractors.inception.weights` is '.*', which is not a file"):
            check_inputs(named(weights))
    file.touch()
    for weights in (str(file), file.as_uri(), "https://example.org/weights.pth", None):
        check_inputs(named(weights))


def test_weights_that_nothing_fetches_must_be_a_file(tmp_path):
    def named(weights, metric="fd_dinov2"):
        return settings(evaluation={"metrics": ["fd_cifar", metric], "extractors": {"dinov2": {"weights": weights}}})

    file = tmp_path / "weights.pth"
    file.touch()
    for weights in (None, "https://example.org/weights.pth", file.as_uri(), str(tmp_path)):
        with pytest.raises(UserError, match=r"which is not a file; name the file, or take its metrics out") as error:
            check_inputs(named(weights))
        assert "fetched" not in str(error.value)
    check_inputs(named(str(file)))
    check_inputs(named(None, "fd_cifar_test"))


def test_it_is_fast_to_import():
    code = "import sys, hybridflow.data.inputs; sys.exit(bool({'torch', 'numpy', 'PIL'} & sys.modules.keys()))"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
