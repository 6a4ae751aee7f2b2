"""Draw results.png from results.jsonl, each figure over its bar, and rivals.png from rivals.jsonl, ways to
cluster by their threshold. `python benchmarks/plot.py`"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt

HERE = Path(__file__).parent
Row = dict[str, Any]

FIGURES: list[tuple[str, float, bool, Callable[[Row], bool], str]] = [
    ("÷ original, 250 px", 3.5, True, lambda r: _speed(r, "250 px"), "times_original"),
    ("÷ networks, 250 px", 0.90, True, lambda r: _speed(r, "250 px, long"), "to_networks"),
    ("÷ original, 1,600 px", 1.5, True, lambda r: _speed(r, "1600 px"), "times_original"),
    ("÷ networks, 1,600 px", 0.85, True, lambda r: _speed(r, "1600 px"), "to_networks"),
    ("tight crops found", 0.995, True, lambda r: r["benchmark"] == "tight crops", "found"),
    ("turned: found", 0.99, True, lambda r: r["benchmark"] == "turned", "found"),
    ("turned: cosine", 0.90, True, lambda r: r["benchmark"] == "turned", "cosine"),
    ("price of turns", 0.05, False, lambda r: r["benchmark"] == "price of turns", "wall"),
    ("FaceSwap ÷ original", 10, True, lambda r: r["benchmark"] == "FaceSwap speed", "times_original"),
    ("FaceSwap: cosine", 0.95, True, lambda r: r["benchmark"] == "FaceSwap cosine", "cosine"),
    ("nothing to do ÷ first run", 0.02, False, lambda r: r["benchmark"] == "nothing to do", "share"),
    ("500,000 known: seconds", 10, False, lambda r: r["benchmark"] == "planning known files", "plan_seconds"),
    ("500,000 known: MB", 1000, False, lambda r: r["benchmark"] == "planning known files", "peak_mb"),
    ("SIGKILL survived", 20, True, lambda r: r["benchmark"] == "kill", "equal"),
    (
        "memory, ten times the pictures",
        0.05,
        False,
        lambda r: r["benchmark"] == "memory",
        "growth_beside_table",
    ),
    ("separation, mean", 0.999, True, lambda r: r["benchmark"] == "separation", "mean"),
    ("separation, worst", 0.97, True, lambda r: r["benchmark"] == "separation", "worst"),
    ("--help, CPU seconds", 0.3, False, lambda r: r["benchmark"] == "start-up", "cpu_seconds"),
]
"""Label, bar, whether more is better, which rows, which value."""


def _speed(row: Row, photos: str) -> bool:
    return row["benchmark"] == "speed" and row["photos"] == photos and not row["options"]


def main() -> None:
    """One line a figure; right of 1 is past the bar."""
    rows = [json.loads(line) for line in (HERE / "results.jsonl").read_text().splitlines()]
    figure, axes = plt.subplots(figsize=(9, 6), layout="constrained")
    for line, (_, bar, more, which, key) in enumerate(FIGURES):
        for row in rows:
            value = row.get(key) if which(row) else None
            if isinstance(value, dict):  # by rival; the fastest counts
                value = min(value.values(), default=None)
            if value is None:
                continue
            past = value / bar if more else bar / max(value, 1e-3)
            colour = "#2a7f3f" if past >= 1 else "#b03030"
            mark = "s" if row.get("pack") == "opencv" else "o"
            axes.plot(past, line, mark, color=colour, markersize=7)
            axes.annotate(
                f"{value:g}", (past, line), (0, 6), textcoords="offset points", fontsize=7, ha="center"
            )
    axes.axvline(1, color="#888888", linewidth=1)
    axes.set_xscale("log")
    axes.set_yticks(range(len(FIGURES)), [f"{f[0]}  (bar {f[1]:g})" for f in FIGURES])
    axes.invert_yaxis()
    axes.set_xlabel("times the bar; right of 1 is past it   (squares: opencv, circles: others)")
    axes.spines[["top", "right"]].set_visible(False)
    figure.savefig(HERE / "results.png", dpi=110)


def rivals() -> None:
    """BCubed F of each method by threshold; the line is the threshold that ours finds by itself."""
    rows = [json.loads(line) for line in (HERE / "rivals.jsonl").read_text().splitlines()]
    embedders = sorted({row["embedder"] for row in rows})
    figure, panels = plt.subplots(1, len(embedders), figsize=(11, 4.5), layout="constrained", sharey=True)
    for panel, embedder in zip(panels, embedders, strict=True):
        mine = [row for row in rows if row["embedder"] == embedder and "threshold" in row]
        for method in sorted({row["method"] for row in mine}, key=lambda m: m != "ours"):
            points = sorted((row["threshold"], row["bcubed_f"]) for row in mine if row["method"] == method)
            width = 3 if method == "ours" else 1.2
            panel.plot(*zip(*points, strict=True), marker="o", markersize=4, linewidth=width, label=method)
        # The sweep's second threshold is the found one: it goes from 0.05 below it to 0.1 above.
        panel.axvline(sorted({row["threshold"] for row in mine})[1], color="#888888", linewidth=1)
        panel.set(title=embedder, xlabel="threshold (cosine)", ylim=(0.9, 1.0))
        panel.spines[["top", "right"]].set_visible(False)
    panels[0].set_ylabel("BCubed F")
    panels[-1].legend(frameon=False, fontsize=8)
    figure.savefig(HERE / "rivals.png", dpi=110)


if __name__ == "__main__":
    if (HERE / "results.jsonl").exists():
        main()
    rivals()
