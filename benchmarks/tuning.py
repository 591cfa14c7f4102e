"""Settings tuned on one CamVid sequence and tested on the other, as Markdown tables.

    RANKSEG_DATA=... python benchmarks/tuning.py

Dice, samplewise, in percent: over the classes in the label / in label or prediction. Intervals are
95 %, by resampling frames. "Tuned" is what `rankseg tune` chooses on the first sequence.
"""

import sys
from collections.abc import Iterator
from pathlib import Path

from harness import data_folder, say, table

from rankseg import RankSEG
from rankseg.evaluation import Case, Cases, Evaluation, Method, default_methods, evaluate, tune

SEQUENCES = ("0001TP", "Seq05VD")


class Frames:
    """The frames of one sequence, read one at a time and again and again."""

    def __init__(self, frames: Path, name: str) -> None:
        self.cases = Cases(frames, frames)
        self.names = [one for one in self.cases.names if one.startswith(name)]

    def __iter__(self) -> Iterator[Case]:
        return (self.cases.read(name) for name in self.names)

    def __len__(self) -> int:
        return len(self.names)


def gain(found: Evaluation, method: str) -> list[str]:
    """Return the scores of a method, and their gains with intervals."""
    results = {
        result.presence: result
        for result in found.results
        if result.method == method and result.metric == "dice"
    }
    pair = [results[presence] for presence in ("label", "either")]
    gains = (f"{100 * r.gain:+.2f} [{100 * r.low:+.2f}, {100 * r.high:+.2f}]" for r in pair)
    return [method, " / ".join(f"{100 * r.score:.2f}" for r in pair), " / ".join(gains)]


def main() -> None:
    folder = data_folder()
    if folder is None:
        sys.exit(1)
    for first, second in (SEQUENCES, SEQUENCES[::-1]):
        seen, unseen = (Frames(Path(folder, "camvid_espnet"), name) for name in (first, second))
        say(f"tuning on {first} ...")
        tuning = tune(seen)
        argmax, pruned, untuned = default_methods(["dice"], correlation=0.0)
        tuned = Method("tuned", RankSEG.from_config(tuning.config))
        found = evaluate(unseen, methods=[argmax, pruned, untuned, tuned])
        print(f"\nTuned on {len(seen)} frames of {first}: {tuning.chosen.candidate.name}. ", end="")
        print(f"Tested on {len(unseen)} of {second}:\n")
        names = [method.name for method in found.methods]
        print(table(["", "Dice", "over argmax"], [gain(found, name) for name in names]))
        against = evaluate(unseen, methods=[untuned, tuned])
        print(f"\nTuned over untuned RankSEG: {gain(against, 'tuned')[2]}.")


if __name__ == "__main__":
    main()
