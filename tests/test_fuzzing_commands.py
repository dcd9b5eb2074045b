"""Commands on model files that mutants made: a refusal or an answer, never a crash of ours.

What `tests/test_fuzzing_models.py` mutates is the file; here only what a model remembers changes,
so that many mutants are files to load, and it is the commands that have to live with them.
"""

import copy
import hashlib
import json
import random
from pathlib import Path

import good_model_file
import hostile_ways
import numpy as np
import pytest
from command_line import LONGEST_LINE, kseq

from kseq import ModelFileError, inspect_model

# No engine has a part in it.
pytestmark = pytest.mark.engine("torch")

TEXT = "abcdef" * 11 + "fade"
SERIES = [f"{x},{x % 3}" for x in range(9)]
COMMANDS = {
    "LanguageModel": (
        ("evaluate", "model.keras", "--batch-size", "2", "--num-steps", "3"),
        ("generate", "model.keras", "--length", "5"),
    ),
    "Forecaster": (
        ("forecast", "model.keras"),
        ("forecast", "model.keras", "series.csv", "--time", "t"),
    ),
}
# How many mutants are inspected, and how many of those that can be are used: that takes longer.
INSPECTED, USED = 300, 40
# Words that a name, a place or a number may be replaced by, beside those of no use at all.
NEAR = ("a.txt", "story", "../a.txt", "-", "char", "word", "d2l", "0.5", "noisy-sine", "series.csv")
FAR = (None, True, -1, 0, 1, 5, 70, 2**53, 10**400, 1e308, 1e-320, float("nan"), "", "\x1b[2J")
INSIDE = ([], {}, [0], [0, 5], [5, 0], [0, 10**9], ["a"], [[]], {"name": "x"})


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    Path("a.txt").write_text(TEXT)
    Path("series.csv").write_text("\n".join(["t,x", *SERIES, ""]))


def language_model():
    """Give settings of a model that can be judged on `a.txt`, which parts to change, and arrays."""
    config = good_model_file.good_config()
    digest = hashlib.sha256(TEXT.encode()).hexdigest()
    facts = config["config"]["provenance"]
    facts["corpus"] = {**hostile_ways.good_corpus(), "sha256": digest}
    return config, good_model_file.good_arrays(), ("provenance", "seed", "name", "vocab")


def forecaster():
    """Give the same of a forecaster that knows its series and is calibrated."""
    config = good_model_file.good_config()
    hostile_ways.forecaster(config)
    config["compile_config"] = {"optimizer": "sgd", "loss": "mse"}
    facts = {"corpus": None, "epochs": 1, "results": {"epoch": 1.0, "loss": 0.5}}
    config["config"] = {
        "name": "mlp",
        "kind": "mlp",
        "window": 4,
        "units": 3,
        "scaling": "standard",
        "fitted": {"mean": 1.0, "scale": 2.0},
        "margins": {"0.5": [0.1, 0.2], "0.9": [0.3, 0.4]},
        "provenance": {**facts, "series": {"name": "noisy-sine", "column": "x", "seed": 0}},
    }
    shapes = {"hidden/dense/vars/0": (4, 3), "hidden/dense/vars/1": (3,)}
    shapes |= {"read_out/vars/0": (3, 1), "read_out/vars/1": (1,)}
    arrays = {f"layers/window_network/{at}": np.ones(shape, "f4") for at, shape in shapes.items()}
    arrays |= {"optimizer/vars/0": np.int32(3), "optimizer/vars/1": np.float32(0.1)}
    return config, arrays, ("provenance", "margins", "fitted", "name")


def mutant(config, names, rng):
    """Change, take out or add one value somewhere in what a model remembers."""
    config = copy.deepcopy(config)
    # The first has the most to be wrong.
    name = rng.choice([names[0], *names])
    inside = rng.choice(list(containers(config["config"], name)))
    keys = list(inside) if isinstance(inside, dict) else list(range(len(inside)))
    value = rng.choice([*NEAR, *FAR, *INSIDE])
    key = name if inside is config["config"] else rng.choice(keys) if keys else None
    if key is None or (inside is config["config"] and key not in inside):
        return config
    if rng.random() < 0.2:
        inside.pop(key)
    elif rng.random() < 0.1 and isinstance(inside, dict):
        inside[str(value)] = inside.pop(key)
    else:
        inside[key] = value
    return config


def containers(config, name):
    """Yield what holds the value `name` and every list and dictionary in it."""
    yield config
    waiting = [config.get(name)]
    while waiting:
        one = waiting.pop()
        if isinstance(one, dict | list):
            yield one
            waiting += one.values() if isinstance(one, dict) else one


def written(config, weights):
    members = {**good_model_file.good_members(), good_model_file.WEIGHTS: weights}
    members[good_model_file.CONFIG] = json.dumps(config).encode()
    Path("model.keras").write_bytes(good_model_file.archive(members))


def is_read():
    try:
        inspect_model("model.keras")
    except ModelFileError:
        return False
    return True


def lives(*words, codes):
    """Run a command; it may refuse but not crash, and not write to the terminal's cursor."""
    said = kseq(*words)
    assert said.code in codes, (words, said)
    assert "\x1b" not in said.out + said.err
    assert all(len(line) <= LONGEST_LINE for line in said.err.splitlines())
    return said


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("make", [language_model, forecaster], ids=lambda make: make.__name__)
def test_a_command_refuses_or_answers_whatever_a_model_remembers(make):
    config, arrays, names = make()
    weights, rng, used = good_model_file.weights(arrays), random.Random(make.__name__), 0
    commands = COMMANDS[config["class_name"]]
    written(config, weights)
    for words in [("inspect", "model.keras"), *commands]:
        lives(*words, codes=[0])
    for number in range(INSPECTED):
        changed = mutant(config, names, rng)
        written(changed, weights)
        if changed == config or not is_read():
            continue
        lives("inspect", "model.keras", *["--json"] * (number % 2), codes=[0])
        used += 1
        for words in commands if used <= USED else ():
            lives(*words, codes=[0, 2, 3, 4, 5, 6])
    assert USED <= used < INSPECTED


# Finds: each was exit 1 once


@pytest.mark.parametrize(
    ("make", "change"),
    [
        (language_model, lambda settings: settings["provenance"]["corpus"].pop("level")),
        (language_model, lambda settings: settings["provenance"]["corpus"].pop("sha256")),
        (language_model, lambda settings: settings["provenance"].update(results={"a": 10**400})),
        (forecaster, lambda settings: settings["provenance"]["series"].pop("name")),
        (forecaster, lambda settings: settings.update(margins={})),
    ],
    ids=["level", "sha256", "loss", "name", "margins"],
)
def test_what_a_model_remembers_is_there_and_of_its_kind(make, change):
    config, arrays, _ = make()
    change(config["config"])
    written(config, good_model_file.weights(arrays))
    for words in [("inspect", "model.keras"), *COMMANDS[config["class_name"]]]:
        assert "cannot be" in lives(*words, codes=[4]).err
