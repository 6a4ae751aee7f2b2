"""Why a face is not found, and what finds it: trials of several back ends on one picture, put into words."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from face_organizer.compare import HEADERS, Face
from face_organizer.compare.gender import Judge
from face_organizer.compare.run import Trial
from face_organizer.compare.variants import VARIANTS
from face_organizer.errors import ImageError
from face_organizer.files import atomic_write, printable
from face_organizer.geometry import align, quality
from face_organizer.media import images

SMALL, TIGHT, DARK, BLURRED, TURNED, PROFILE = 30.0, 0.72, 50.0, 15.0, 30.0, 45.0
"""Pixels; share of the picture's shorter side; mean luma; variance of the Laplacian; degrees; degrees: beyond
these a detector is likely to miss a face. Rules of thumb, which the trials with changed pictures confirm or
not."""
COLOURS = ((31, 96, 168), (196, 98, 16), (30, 132, 73), (150, 40, 140), (190, 30, 45), (0, 140, 150))
_WIDTH = 1000
_SETTINGS = {variant.name: variant.setting for variant in VARIANTS}


@dataclass(frozen=True, slots=True)
class Diagnosis:
    """What is known of one picture.

    `findings` is by back end: `faces`, `helps` (changes that find a face, with the setting of `embed` where
    there is one) or `error`; `facts` are of the main face, by the surest finding.
    """

    path: str
    width: int
    height: int
    unreadable: str
    facts: dict[str, Any]
    causes: list[str]
    findings: dict[str, dict[str, Any]]

    @property
    def looked(self) -> dict[str, int]:
        """Faces that each back end found; reading headers is no looking where there is no header."""
        counts = {name: len(f["faces"]) for name, f in self.findings.items() if "faces" in f}
        return {name: count for name, count in counts.items() if count or name != HEADERS}

    @property
    def missed_by(self) -> list[str]:
        """Back ends that looked and found nothing."""
        return [name for name, count in self.looked.items() if not count]

    @property
    def verdict(self) -> str:
        """One line: who missed it, why, what helps."""
        if self.unreadable:
            return f"cannot be read: {self.unreadable}"
        missed = self.missed_by
        if not self.looked:
            return "no back end could look at it"
        if not missed:
            return "found by all"
        helps = [f"{name}: {h}" for name in missed for h in self.findings[name]["helps"][:1]]
        why = ", ".join(self.causes) or "no cause seen: it may hold no face"
        who = "all" if len(missed) == len(self.looked) else ", ".join(missed)
        return f"missed by {who}; {why}" + (
            f"; found with {'; '.join(helps)}" if helps else "; no change helped"
        )

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return {
            "path": self.path,
            "width": self.width,
            "height": self.height,
            "unreadable": self.unreadable,
            "verdict": self.verdict,
            "causes": self.causes,
            "facts": self.facts,
            "backends": self.findings,
        }


def diagnose(paths: Sequence[str], trials: Sequence[Trial], judge: Judge) -> list[Diagnosis]:
    """A diagnosis for each path, in order."""
    rows = {trial.name: {p["path"]: p for p in trial.pictures} for trial in trials}
    return [
        _one(path, {t.name: _finding(rows[t.name].get(path), t) for t in trials}, judge) for path in paths
    ]


def _finding(row: Mapping[str, Any] | None, trial: Trial) -> dict[str, Any]:
    if row is None:
        return {"error": trial.why or "not looked at"}
    if "unreadable" in row:
        return {"error": row["unreadable"]}
    helping = [v for v in row.get("variants", []) if v["faces"]]
    return {
        "faces": row["faces"],
        "helps": [_help(v, trial.tunable) for v in helping],
        "helped": [face for v in helping for face in v["faces"][:1]],
        "seconds": row["seconds"],
    }


def _help(variant: Mapping[str, Any], tunable: bool) -> str:
    setting, score = _SETTINGS[variant["name"]], variant["faces"][0]["score"]
    words = [setting] if tunable and setting else []
    words += [] if score is None else [f"score {score:.2f}"]
    name: str = variant["name"]
    return name + (f" ({', '.join(words)})" if words else "")


def _one(path: str, findings: dict[str, dict[str, Any]], judge: Judge) -> Diagnosis:
    try:
        source = images.open_source(path)
        source.pixels()
    except ImageError as error:
        return Diagnosis(path, 0, 0, error.reason, {}, ["unreadable"], findings)
    main = _surest(findings)
    if main is None:
        pixels = source.pixels(512)[0]
        facts: dict[str, Any] = {"picture_brightness": float(pixels.mean())}
        causes = ["the picture is dark"] if facts["picture_brightness"] < DARK else []
        return Diagnosis(path, source.width, source.height, "", facts, causes, findings)
    facts = facts_of(main, source)
    if judge:
        facts["gender"], facts["gender_confidence"] = judge.of(path, main)
        for finding in findings.values():
            for face in finding.get("faces", [])[:1]:
                face["gender"], face["gender_confidence"] = judge.of(path, face)
    return Diagnosis(path, source.width, source.height, "", facts, causes_of(facts), findings)


def _surest(findings: Mapping[str, Mapping[str, Any]]) -> Face | None:
    """The main face as it is known best: with landmarks, as it is rather than by a changed picture."""
    for key in ("faces", "helped"):
        known = [f[key][0] for f in findings.values() if f.get(key)]
        if known:
            order = [(face["landmarks"] is not None, face["score"] or 0.0) for face in known]
            best: Face = known[order.index(max(order))]
            return best
    return None


def facts_of(face: Face, source: images.Source) -> dict[str, Any]:
    """Size, place, sharpness, brightness and pose of a face; what landmarks tell only where there are any."""
    box = np.array([face["box"]], np.float32)
    shorter = min(source.width, source.height)
    size = float(quality.size(box)[0])
    facts: dict[str, Any] = {
        "size": round(size, 1),
        "share": round(size / shorter, 3),
        "outside": round(
            float(quality.outside(box, np.array([source.width]), np.array([source.height]))[0]), 3
        ),
    }
    landmarks = np.array([face["landmarks"]], np.float32) if face["landmarks"] else None
    if landmarks is not None and align.usable(landmarks)[0]:
        chip = align.warp(source.pixels()[0], align.estimate(landmarks)[0])
        sharpness, brightness = quality.light([chip])
        yaw, pitch, roll = quality.angles(landmarks)
        facts |= {"sharpness": round(float(sharpness[0]), 1), "brightness": round(float(brightness[0]), 1)}
        facts |= {"yaw": round(float(yaw[0])), "pitch": round(float(pitch[0])), "roll": round(float(roll[0]))}
    return facts


def causes_of(facts: Mapping[str, Any]) -> list[str]:
    """What makes a face of such facts hard to find, in words."""
    causes = []
    if facts["size"] < SMALL:
        causes.append(f"too small ({facts['size']:.0f} px)")
    if facts["share"] > TIGHT or facts["outside"] > 0.1:
        causes.append(f"too tight (the face is {facts['share']:.0%} of the picture's shorter side)")
    if facts.get("brightness", 255.0) < DARK:
        causes.append(f"dark (brightness {facts['brightness']:.0f} of 255)")
    if abs(facts.get("roll", 0)) > TURNED:
        causes.append(f"turned by {abs(facts['roll'])}°")
    if abs(facts.get("yaw", 0)) > PROFILE:
        causes.append(f"in profile (yaw {facts['yaw']}°)")
    if facts.get("sharpness", 1e9) < BLURRED:
        causes.append(f"blurred (sharpness {facts['sharpness']:.0f})")
    return causes


def annotate(one: Diagnosis, target: Path) -> Any:
    """Write the picture with every back end's boxes and the verdict as JPEG; the pixels (RGB uint8)."""
    import io

    from PIL import Image as Pillow
    from PIL import ImageDraw, ImageFont

    if one.unreadable:
        photo, scale = Pillow.new("RGB", (_WIDTH, 200), (96, 96, 96)), 1.0
    else:
        pixels = images.read(one.path)
        scale = _WIDTH / pixels.shape[1]
        photo = Pillow.fromarray(pixels).resize((_WIDTH, max(1, round(pixels.shape[0] * scale))))
    font = ImageFont.load_default(18)
    lines = [(printable(one.path)[-95:], (24, 26, 30)), *_wrapped(one.verdict)]
    for i, (name, finding) in enumerate(one.findings.items()):
        faces = finding.get("faces", [])
        scores = ", ".join("-" if f["score"] is None else f"{f['score']:.2f}" for f in faces[:6])
        text = finding.get("error") or (f"{len(faces)} faces: {scores}" if faces else "nothing")
        lines.append((f"{name}: {text}"[:110], COLOURS[i % len(COLOURS)]))
    if one.facts:
        told = ", ".join(f"{k} {v:.2f}" if isinstance(v, float) else f"{k} {v}" for k, v in one.facts.items())
        lines += _wrapped(told)
    sheet = Pillow.new("RGB", (_WIDTH, photo.height + 20 + 25 * len(lines)), (250, 250, 248))
    sheet.paste(photo, (0, 0))
    pen = ImageDraw.Draw(sheet)
    for i, finding in enumerate(one.findings.values()):
        for n, face in enumerate(finding.get("faces", []) + finding.get("helped", [])[:1]):
            seen = n < len(finding.get("faces", []))
            x1, y1, x2, y2 = (v * scale for v in face["box"])
            pen.rectangle(
                (min(x1, x2), min(y1, y2), max(x1, x2), max(y1, y2)),
                outline=COLOURS[i % len(COLOURS)],
                width=4 if seen else 1,
            )
    for n, (text, ink) in enumerate(lines):
        pen.text((14, photo.height + 10 + 25 * n), text, ink, font)
    buffer = io.BytesIO()
    sheet.save(buffer, "JPEG", quality=88)
    with atomic_write(target) as file:
        file.write(buffer.getvalue())
    return np.asarray(photo)


def _wrapped(text: str) -> list[tuple[str, tuple[int, int, int]]]:
    import textwrap

    return [(line, (24, 26, 30)) for line in textwrap.wrap(printable(text), 105)]
