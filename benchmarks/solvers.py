"""What each solver costs and loses: the tables and the figure of docs/which-solver.md.

``python benchmarks/solvers.py [--figure docs/images/solvers.png]``; real frames need RANKSEG_DATA.
"""

import argparse
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import numpy as np
from harness import data_folder, medians, wall_clock

from rankseg.functional import rankseg
from rankseg.metrics import class_presence, dice, expected_dice, mean_score

SOLVERS = ("TR", "RMA", "BA", "TRNA", "exact")


def hard_rows() -> dict[str, np.ndarray]:
    """Rows on which approximations have a hard time: (1, rows, pixels) each."""
    rng = np.random.default_rng(0)
    p = rng.random((1, 40, 400))
    tiny = np.where(rng.random(p.shape) < 0.01, 0.4 + 0.5 * rng.random(p.shape), 0.003 * p)
    return {
        "tiny objects, mu < 5": tiny,
        "all p near 0.5": 0.5 + 1e-3 * (p - 0.5),
        "heavy ties": np.round(p * 4) / 4,
        "spread over [0, 1]": p,
    }


def real_frames(folder: str, count: int) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Yield probabilities (1, class, height, width) and labels (1, height, width)."""
    files = sorted(Path(folder, "camvid_espnet").glob("*.npz"))
    for file in files[:: max(1, len(files) // count)]:
        data = np.load(file)
        probs = data["probs"].astype(np.float32)
        yield (probs / probs.sum(axis=0))[None], data["label"][None].astype(int)


def solve(probs: np.ndarray, solver: str) -> np.ndarray:
    """Return the multilabel Dice masks of one solver."""
    metric = "accuracy" if solver == "TR" else "dice"
    return rankseg(probs, metric, output_mode="multilabel", solver=solver, pruning_prob=0.0)


def seconds(call: Callable[[], object]) -> float:
    """Return the median time of three calls."""
    return medians({"": partial(wall_clock, call)}, repeats=3)[""]


def table(title: str, maps: dict[str, list[np.ndarray]]) -> None:
    """Print time, and expected Dice lost to the exact optimum, of each solver."""
    print(f"\n| {title} | " + " | ".join(SOLVERS) + " |\n|---|" + "---|" * len(SOLVERS))
    for name, probs in maps.items():
        best = [expected_dice(p, solve(p, "exact"), method="exact") for p in probs]
        cells = []
        for solver in SOLVERS:
            reached = [expected_dice(p, solve(p, solver), method="exact") for p in probs]
            loss = np.concatenate([(b - r).ravel() for b, r in zip(best, reached, strict=True)])
            cost = sum(seconds(partial(solve, p, solver)) for p in probs) / len(probs)
            cells.append(f"{1e3 * cost:.1f} ms, {loss.mean():.1e} / {loss.max():.1e}")
        print(f"| {name} | " + " | ".join(cells) + " |")


def refinement(frames: list[tuple[np.ndarray, np.ndarray]], passes: int = 3) -> None:
    """Print what `refine` does to real labels."""
    gains: dict[str, list[float]] = {"objective": [], "label": [], "either": []}
    for probs, label in frames:
        kwargs = {"num_classes": probs.shape[1], "ignore_index": 255}
        present = class_presence(label, **kwargs)
        before, after = rankseg(probs), rankseg(probs, refine=passes)
        joint = [expected_dice(probs, x, method="rma").sum() for x in (before, after)]
        gains["objective"].append(joint[1] - joint[0])
        scores = [dice(x, label, **kwargs) for x in (before, after)]
        for name, chosen in (("label", present), ("either", None)):
            means = [float(mean_score(s, present=chosen)) for s in scores]
            gains[name].append(100 * (means[1] - means[0]))
    print(f"\nrefine={passes} on {len(frames)} real frames:")
    for name, values in gains.items():
        up, down = sum(v > 0 for v in values), sum(v < 0 for v in values)
        print(f"- {name}: mean {np.mean(values):+.4f}, up {up}, down {down}")


def figure(path: Path) -> None:
    """Draw expected Dice against the size of the mask, with every solver's choice."""
    from matplotlib.figure import Figure

    fig = Figure(figsize=(11, 3.6), layout="constrained")
    rows = hard_rows()
    for axis, (name, p) in zip(fig.subplots(1, len(rows)), rows.items(), strict=True):
        row = p[:, :1]
        order = np.argsort(-row[0, 0], kind="stable")
        ranks = np.argsort(order)
        sizes = np.unique(np.geomspace(1, 400, 150).astype(int))
        scores = [expected_dice(row, (ranks < n)[None, None], method="exact")[0, 0] for n in sizes]
        axis.plot(sizes, scores, color="0.6")
        for solver, marker in zip(SOLVERS, "xsv^o", strict=True):
            mask = solve(row, solver)
            score = expected_dice(row, mask, method="exact")[0, 0]
            axis.plot(mask.sum(), score, marker, fillstyle="none", markersize=9, label=solver)
        axis.set(title=name, xlabel="pixels in the mask", xscale="log")
    fig.axes[0].set_ylabel("expected Dice")
    fig.axes[0].legend()
    path.parent.mkdir(parents=True, exist_ok=True)
    fig.savefig(path, dpi=130)


def main() -> None:
    """Print the tables; draw the figure where asked."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--figure", type=Path)
    parser.add_argument("--frames", type=int, default=20)
    options = parser.parse_args()
    print("Time a call, and expected Dice lost to the exact optimum: mean / largest over rows")
    table("hard rows, 40 x 400", {name: [p] for name, p in hard_rows().items()})
    folder = data_folder()
    if folder is not None:
        frames = list(real_frames(folder, options.frames))
        table("real maps", {"CamVid, 11 x 360 x 480": [p for p, _ in frames[:3]]})
        refinement(frames)
    if options.figure:
        figure(options.figure)


if __name__ == "__main__":
    main()
