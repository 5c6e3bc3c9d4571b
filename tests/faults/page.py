"""The log of a campaign as a page of the documentation."""

from __future__ import annotations

from dataclasses import dataclass

INTRODUCTION = """# The kill campaign

Written by `{command}`: {kills} kills in {rounds} rounds. After {identical} of them the run ended in the bytes of an
undisturbed one.

[A round](../tests/faults/campaign.py) starts from a bare checkout with 240 images to download, a baseline, a hybrid,
and every other stage. Its run is killed, the plain command is given again and killed in the next stage, and so on; the
last one ends by itself. Then every file of `results/`, `store/` and `resources/` is compared, except for [those that
hold times](../tests/faults/outcome.py), nothing may have been left behind, and a dry run must have nothing to do.

- target: `job` is the process that computes; `all` is every process of the run, as with Ctrl-C; `snakemake` is
  Snakemake alone, whose job goes on without it.
- second: since the start of the killed run. exit: of the killed Snakemake, negative for a signal.
- kept: what there was to go on from when Snakemake had ended.
- then: how the plain command ended that was given at once.

| # | round | stage | signal | target | second | exit | kept | then | identical |
|--:|--:|---|---|---|--:|--:|---|---|---|
"""


@dataclass
class Kill:
    """One row.

    Attributes:
        number, round: which kill of the campaign, in which round.
        stage, signal, target, second: where, how, whom and when it struck.
        status: Snakemake's exit status.
        kept: what there was to go on from.
        then: how the command that followed ended.
        identical: whether the round ended in the reference's bytes.
    """

    number: int
    round: int
    stage: str
    signal: str
    target: str
    second: float
    status: int = 0
    kept: str = ""
    then: str = ""
    identical: bool = False

    @property
    def row(self) -> str:
        cells = (self.number, self.round, self.stage, self.signal, self.target, f"{self.second:.2f}", self.status)
        return "| " + " | ".join(map(str, (*cells, self.kept, self.then, "yes" if self.identical else "NO"))) + " |"


def page(kills: list[Kill], failures: list[str], command: str) -> str:
    """The page, in Markdown."""
    text = INTRODUCTION.format(
        command=command,
        kills=len(kills),
        rounds=len({kill.round for kill in kills}),
        identical=sum(kill.identical for kill in kills),
    )
    text += "".join(f"{kill.row}\n" for kill in kills)
    if failures:
        text += "\nWhat failed:\n\n" + "".join(f"- {failure}\n" for failure in failures)
    return text
