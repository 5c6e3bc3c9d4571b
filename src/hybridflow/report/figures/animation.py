"""Training as a short animation: the samples of the same latents, as the weights change."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

from hybridflow.io.files import atomic_path

SIZE = 400_000
"""Bytes that the animation may have."""

LAST = 2000
"""Milliseconds that the last frame stays; an animation takes about as long as all others together."""

CAPTION = 14  # pixels of the line of text under the images


def training_grids(folder: str | Path) -> list[tuple[int, Path]]:
    """(step, file) of every grid of samples that a training left in its folder, by step."""
    found = [(re.fullmatch(r"step-(\d+)", path.stem), path) for path in Path(folder).glob("step-*.png")]
    return sorted((int(match[1]), path) for match, path in found if match)


def animate_training(output: str | Path, trainings: Sequence[tuple[str, Sequence[tuple[int, Path]]]]) -> None:
    """Writes a GIF of the training with the most grids; of as many frames, evenly spread, as its size allows.

    Args:
        trainings: (name, :func:`training_grids`) of every model. Without any grid, the only frame says so.
    """
    name, grids = max(trainings, key=lambda training: len(training[1]), default=("", ()))
    everything = [_frame(grid, f"{name}: step {step}") for step, grid in grids] or [_nothing()]
    count = len(everything)
    while True:
        frames = [everything[i] for i in sorted({round(i) for i in np.linspace(0, len(everything) - 1, count)})]
        pause = max(60, LAST // len(frames))
        with atomic_path(output) as temporary:
            frames[0].save(
                temporary,
                format="GIF",
                save_all=True,
                append_images=frames[1:],
                duration=[pause] * (len(frames) - 1) + [LAST],
                loop=0,
            )
        if count <= 2 or Path(output).stat().st_size <= SIZE:
            return
        count = max(2, count * 2 // 3)


def _frame(grid: Path, text: str) -> Image.Image:
    with Image.open(grid) as image:
        picture = image.convert("RGB").reduce(2)  # grids show every pixel twice
    frame = Image.new("RGB", (picture.width, picture.height + CAPTION), "white")
    frame.paste(picture)
    ImageDraw.Draw(frame).text((2, picture.height + 1), text, fill="black")
    return frame.quantize(64)


def _nothing() -> Image.Image:
    frame = Image.new("RGB", (420, 2 * CAPTION), "white")
    text = "No animation: every model came from the store, without grids of its training."
    ImageDraw.Draw(frame).text((2, CAPTION // 2), text, fill="black")
    return frame
