"""Training as an animation."""

from pathlib import Path

import numpy as np
from PIL import Image

from hybridflow.evaluation.sampling import save_png
from hybridflow.report.figures.animation import SIZE, animate_training, training_grids


def write_grids(folder: Path, count: int, side: int = 256) -> Path:
    folder.mkdir()
    rng = np.random.default_rng(0)
    for step in range(count):
        save_png(folder / f"step-{1000 * step:07d}.png", rng.integers(0, 256, (side, side, 3), dtype=np.uint8))
    return folder


def test_grids_come_by_step(tmp_path: Path) -> None:
    folder = write_grids(tmp_path / "grids", 3, side=8)
    (folder / "step-other.png").touch()
    assert [step for step, _ in training_grids(folder)] == [0, 1000, 2000]
    assert training_grids(tmp_path / "absent") == []


def test_it_shows_the_training_with_the_most_grids(tmp_path: Path) -> None:
    trainings = [(name, training_grids(write_grids(tmp_path / name, n, side=64))) for name, n in (("a", 2), ("b", 4))]
    animate_training(tmp_path / "training.gif", trainings)
    with Image.open(tmp_path / "training.gif") as gif:
        assert gif.n_frames == 4
        assert gif.width == 64


def test_it_drops_frames_until_it_is_small(tmp_path: Path) -> None:
    grids = training_grids(write_grids(tmp_path / "grids", 20))
    animate_training(tmp_path / "training.gif", [("a", grids)])
    assert (tmp_path / "training.gif").stat().st_size <= SIZE
    with Image.open(tmp_path / "training.gif") as gif:
        assert 2 <= gif.n_frames < 20


def test_without_grids_it_says_so(tmp_path: Path) -> None:
    animate_training(tmp_path / "training.gif", [("a", [])])
    with Image.open(tmp_path / "training.gif") as gif:
        assert getattr(gif, "n_frames", 1) == 1
        assert np.asarray(gif.convert("L")).min() < 50  # letters
