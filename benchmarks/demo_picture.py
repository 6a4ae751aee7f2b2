"""Draw docs/demo.png: what `make demo` made, as folders and as a map. No photo is in it.

`make demo && python benchmarks/demo_picture.py`
"""

from __future__ import annotations

import csv
from collections import Counter
from pathlib import Path

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import numpy as np

from face_organizer import table

DEMO = Path("demo")
faces = table.read(DEMO / "faces.pkl")
with open(DEMO / "people" / "manifest.csv", newline="") as file:
    people = [line["person"] for line in csv.DictReader(file)]
centred = faces.embeddings - faces.embeddings.mean(axis=0)
axes = np.linalg.svd(centred, full_matrices=False)[2][:2]
x, y = (centred @ axes.T).T
names = sorted(set(people))
colours = plt.get_cmap("tab10")
sizes = Counter(people)
figure, (left, right) = plt.subplots(1, 2, figsize=(10, 4.2), width_ratios=[1, 1.25], layout="constrained")
left.axis("off")
lines = [("$ face-organizer cluster --clusters 8 …", "#444444"), ("people/", "#000000")]
lines += [(f"   {name}/   {sizes[name]} photos", colours(i)) for i, name in enumerate(names)]
lines += [("98 photos = 96 sorted + 2 no face", "#444444")]
for i, (line, colour) in enumerate(lines):
    left.text(0, 1 - i / len(lines), line, family="monospace", fontsize=12, color=colour, va="top")
for i, name in enumerate(names):
    mine = np.array([p == name for p in people])
    right.scatter(x[mine], y[mine], s=34, color=colours(i), label=name, edgecolors="white", linewidths=0.6)
    right.annotate(
        name, (x[mine].mean(), y[mine].mean()), (0, 9), textcoords="offset points", ha="center", fontsize=9
    )
right.set(xticks=[], yticks=[], title="The 96 faces: two principal axes of their embeddings")
right.spines[:].set_visible(False)
figure.savefig("docs/demo.png", dpi=110)
