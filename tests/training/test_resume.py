"""The saved state: the newest sound one is found, whatever kills its writer or damages its files."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
import torch

from hybridflow.runtime.errors import UserError
from hybridflow.training.resume import ResumeState


def state(step: int) -> dict[str, Any]:
    return {
        "step": step,
        "weights": {"w": torch.full((5,), float(step))},
        "optimizer": [None, 0.5],
        "history": "a\nb\n",
    }


@pytest.fixture
def resume(tmp_path: Path) -> ResumeState:
    """Two saved states, of steps 1 and 2."""
    saved = ResumeState(tmp_path / "model.resume", "key")
    assert saved.load() is None
    saved.save(state(1), 1)
    saved.save(state(2), 2)
    return saved


def again(resume: ResumeState, key: str = "key") -> dict[str, Any] | None:
    return ResumeState(resume.path, key).load()


def files(resume: ResumeState) -> list[str]:
    return sorted(path.name for path in resume.path.parent.iterdir())


def test_the_newest_state_comes_back(resume):
    for step in range(3, 6):
        found = again(resume)
        assert found["step"] == step - 1
        assert torch.equal(found["weights"]["w"], state(step - 1)["weights"]["w"])
        assert (found["optimizer"], found["history"]) == ([None, 0.5], "a\nb\n")
        resume.save(state(step), step)
    assert files(resume) == [f"model.resume-{letter}{end}" for letter in "ab" for end in ("", ".json")]
    resume.remove()
    assert files(resume) == []
    assert again(resume) is None


class Killed(BaseException):
    pass


def killed_at(moment: int, work: Callable[[], object]) -> bool:
    """Runs ``work`` until its ``moment``-th change of a file: all go through unlink, open or replace.

    Returns:
        Whether it got to its end before.
    """
    calls = 0

    def killing(method):
        def call(*arguments, **options):
            nonlocal calls
            calls += 1
            if calls > moment:
                raise Killed
            return method(*arguments, **options)

        return call

    with pytest.MonkeyPatch.context() as patch, suppress(Killed):
        for name in ("unlink", "open", "replace"):
            patch.setattr(Path, name, killing(getattr(Path, name)))
        work()
    return calls <= moment


@pytest.mark.parametrize("saves", [0, 1, 2, 3])
def test_a_kill_at_any_moment_of_a_save_costs_that_state_at_most_and_no_word(tmp_path, capfd, saves):
    for moment in range(100):
        resume = ResumeState(tmp_path / f"{moment}" / "model.resume", "key")
        for step in range(1, saves + 1):
            resume.save(state(step), step)
        ended = killed_at(moment, lambda resume=resume: resume.save(state(saves + 1), saves + 1))
        found = again(resume)
        assert (found["step"] if found else 0) in (saves, saves + 1)
        if ended:
            break
    assert found["step"] == saves + 1
    assert moment >= 4
    assert capfd.readouterr().err == ""


def damaged(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


@pytest.mark.parametrize("end", ["", ".json"])
@pytest.mark.parametrize(
    "damage", [damaged, lambda path: path.write_bytes(b""), lambda path: path.write_bytes(b"\xff")]
)
def test_a_damaged_state_is_named_and_the_other_one_used(resume, capfd, end, damage):
    newest = resume.slots[1]
    damage(newest.with_name(newest.name + end))
    assert again(resume)["step"] == 1
    assert capfd.readouterr().err == (
        f"the resume state {newest} is damaged; going on from step 1 in {resume.slots[0]}\n"
    )
    other = ResumeState(resume.path, "key")
    other.load()
    other.save(state(2), 2)  # over the damaged one
    capfd.readouterr()
    assert again(resume)["step"] == 2
    assert capfd.readouterr().err == ""


def test_a_missing_file_is_damage_and_a_missing_record_an_interrupted_write(resume, capfd):
    resume.slots[1].unlink()
    assert again(resume)["step"] == 1
    assert f"{resume.slots[1]} is damaged" in capfd.readouterr().err
    (resume.path.parent / "model.resume-b.json").unlink()
    assert again(resume)["step"] == 1
    assert capfd.readouterr().err == ""


def test_without_a_sound_state_a_sentence_says_what_to_delete(resume):
    for slot in resume.slots:
        damaged(slot)
    with pytest.raises(UserError) as error:
        again(resume)
    first, second = resume.slots
    assert str(error.value) == (
        f"the resume state of this training is damaged ({first} and {second}); delete {resume.path}-* to train this "
        "model from its start."
    )


def test_the_state_of_another_training_is_not_continued(resume):
    with pytest.raises(UserError, match="damaged"):
        again(resume, key="another")
