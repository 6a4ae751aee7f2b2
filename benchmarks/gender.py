"""Gender: accuracy on photos of people whose gender is known, and speed against the original's loop.

Accuracy is that of the embedded network, from tables, with its own confidence. The figures of DeepFace need
its venv, which `make test-tf` makes (`.venv-tf/bin/python benchmarks/gender.py --deepface tensorflow`), and
stand-ins for its weights: with `tensorflow` its own network with random weights, 15 GFLOP a face; with `onnx`
a graph that does next to nothing, so that what is around it shows. They measure time, never accuracy.
"""

from __future__ import annotations

import argparse
import functools
import os
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import common
import numpy as np

from face_organizer.gender import GenderModel, judging, open_model
from face_organizer.networks.devices import CPU
from face_organizer.types import FaceTable

sys.path.append(str(Path(__file__).resolve().parents[1] / "tests"))
from gender_standins import deepface_gender

DEV = common.DATA / "dev-faces"
SETS = {
    "people of LFW": ("identities",),
    "other people": ("celeb5", "dlib_johns", "bbt", "opencv_series"),
    "utkface": ("utkface",),
}


def truth(path: str, genders: dict[str, str]) -> bool:
    """Whether the picture at `path` is labelled as a woman's."""
    name = Path(path)
    if name.parent.name == "utkface":
        return name.name.split("_")[1] == "1"
    return genders[name.parent.name] == "female"


def accuracy() -> None:
    """A row for each set, and one for all people."""
    genders = common.genders()
    model = open_model("auto", CPU, attributes=True)
    found: dict[str, tuple[FaceTable, Any]] = {}
    for name, folders in SETS.items():
        table, _ = common.embed(common.pictures(*(DEV / folder for folder in folders)))
        found[name] = table, judging.look(table, [model], {}, threads=common.CORES).judged
    for name, (table, judged) in found.items():
        paths = table.face_paths()
        woman = np.array([truth(path, genders) for path in paths])
        values = scores(judged.woman, woman, model)
        if name == "utkface":
            years = np.array([int(Path(path).name.split("_")[0]) for path in paths])
            values["age_error_years"] = round(float(np.abs(judged.age - years).mean()), 2)
        common.row("gender accuracy", set=name, model=model.name, **values)
    people = [found[name] for name in SETS if name != "utkface"]
    woman = np.concatenate([[truth(p, genders) for p in table.face_paths()] for table, _ in people])
    said = np.concatenate([judged.woman for _, judged in people])
    common.row("gender accuracy", set="all people", model=model.name, **scores(said, woman, model))


def scores(said: Any, woman: Any, model: GenderModel) -> dict[str, Any]:
    """Shares of faces that are right, of all and of those that are sure."""
    right = (said > 0.5) == woman
    sure = np.maximum(said, 1 - said) >= model.min_confidence
    return {
        "faces": len(said),
        "accuracy": round(float(right.mean()), 4),
        "women_right": round(float(right[woman].mean()), 4),
        "men_right": round(float(right[~woman].mean()), 4),
        "unsure": round(float(1 - sure.mean()), 4),
        "accuracy_of_sure": round(float(right[sure].mean()), 4),
        "women_taken_for_men": int((sure & woman & ~right).sum()),
        "men_taken_for_women": int((sure & ~woman & ~right).sum()),
    }


def speed(rounds: int) -> None:
    """Pictures a second from a table: decode, crop, judge."""
    table, _ = common.embed(common.pictures(DEV / "identities"))
    for ages in (False, True):
        model = open_model("embedded", CPU, attributes=ages)
        run = functools.partial(judging.look, table, [model], {}, threads=common.CORES)
        rate = len(table.files) / statistics.median(timed(run) for _ in range(rounds))
        common.row("gender speed", model="embedded", ages=ages, pictures_per_second=round(rate, 1))


def timed(work: Callable[[], object]) -> float:
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def deepface(engine: str, rounds: int, pictures: int) -> None:
    """The original's loop against the filter from a table; DeepFace's network one by one against batched."""
    with common.temporary() as home:
        os.environ["DEEPFACE_HOME"] = str(home)
        os.environ["DEEPFACE_BACKEND_ENGINE"] = engine
        os.environ["TF_USE_LEGACY_KERAS"] = "1"
        os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
        weights = home / ".deepface" / "weights"
        if engine == "onnx":
            deepface_gender(weights / "gender_model_weights.onnx")
        else:
            stand_in(weights / "gender_model_weights.h5")
        paths = common.pictures(DEV / "identities")
        paths = paths[:: len(paths) // pictures][:pictures]
        table, _ = common.embed(paths)
        from deepface import DeepFace
        from deepface.modules import modeling

        def original() -> None:
            for path in paths:
                DeepFace.analyze(
                    path, actions=["gender"], detector_backend="opencv", enforce_detection=False, silent=True
                )

        def ours(model: GenderModel) -> Callable[[], float]:
            return lambda: timed(lambda: judging.look(table, [model], {}, threads=common.CORES))

        theirs = open_model("deepface", CPU)
        embedded = open_model("embedded", CPU)
        client = modeling.build_model("facial_attribute", "Gender")
        crops = np.random.default_rng(0).integers(0, 256, (pictures, 224, 224, 3), dtype=np.uint8)
        faces = list(crops[..., ::-1].astype(np.float32) / 255)

        def one_by_one() -> None:
            for face in faces:
                client.predict(face)

        for warm in (theirs, embedded):
            judging.look(table, [warm], {}, threads=common.CORES)
        client.predict(faces[0])
        seconds = common.interleaved(
            {
                "original": lambda: timed(original),
                "table, deepface": ours(theirs),
                "table, embedded": ours(embedded),
                "one by one": lambda: timed(one_by_one),
                "batched": lambda: timed(lambda: theirs.judge(crops)),
            },
            rounds,
        )
        theirs.close()
        rates = {name: round(pictures / statistics.median(s), 2) for name, s in seconds.items()}
        ratios = {
            f"{b} ÷ {a}": round(common.ratio(seconds[a], seconds[b]), 2)
            for a, b in (
                ("original", "table, deepface"),
                ("original", "table, embedded"),
                ("one by one", "batched"),
            )
        }
        common.row(
            "gender against the original",
            engine=engine,
            pictures=pictures,
            rounds=rounds,
            load=round(os.getloadavg()[0], 1),
            per_second=rates,
            ratios=ratios,
        )


def stand_in(path: Path) -> None:
    """DeepFace's own gender network with random weights, saved as DeepFace's file."""
    path.parent.mkdir(parents=True)
    from deepface.commons import weight_utils

    fetch, load = weight_utils.download_weights_if_necessary, weight_utils.load_model_weights
    weight_utils.download_weights_if_necessary = lambda **_: str(path)
    weight_utils.load_model_weights = lambda model, weight_file: model
    from deepface.models.demography.tf import Gender

    Gender.load_model().save_weights(str(path))
    weight_utils.download_weights_if_necessary, weight_utils.load_model_weights = fetch, load


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--deepface", choices=["tensorflow", "onnx"], help="its figures, in .venv-tf")
    parser.add_argument("--pictures", type=int, default=32, help="of the figures of DeepFace")
    options = parser.parse_args()
    if options.deepface:
        deepface(options.deepface, options.rounds, options.pictures)
    else:
        accuracy()
        speed(options.rounds)


if __name__ == "__main__":
    main()
