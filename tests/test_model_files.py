"""Model files: what `inspect_model` reads, and which files are refused, with which words."""

import json
import os
import random
import subprocess
import sys
import zipfile
from pathlib import Path

import keras
import numpy as np
import pytest
from children import LONGEST
from language_cases import LETTERS, V, tiny

import kseq
from kseq import FileError, ModelFileError, inspect_model, load_model

# No engine has a part in it.
pytestmark = pytest.mark.engine("torch")

ROOT = Path(__file__).resolve().parent.parent
BOTH = pytest.mark.parametrize("read", [inspect_model, load_model], ids=["inspect", "load"])


@pytest.fixture(scope="module")
def good(tmp_path_factory):
    """A file that holds all a file can: an optimizer, dropout, provenance."""
    path = tmp_path_factory.mktemp("good") / "model.keras"
    model = tiny("gru", num_layers=2, dropout=0.5)
    model.compile()
    model.provenance.note_corpus(kseq.Corpus.from_text(LETTERS * 5, name="letters"))
    model.provenance.note_epoch({"epoch": 1, "loss": 1.5, "perplexity": 4.5})
    model.save(path)
    return path


def rewritten(path, target, **members):
    """Write the archive `path` to `target` with some members changed; None leaves one out."""
    changes = {name.replace("__", "."): content for name, content in members.items()}
    with zipfile.ZipFile(path) as source, zipfile.ZipFile(target, "w") as archive:
        for name in source.namelist():
            content = changes.get(name, source.read(name))
            if content is not None:
                archive.writestr(name, content)
    return target


def with_config(path, target, change):
    """Write the archive with its configuration changed in place by `change`."""
    with zipfile.ZipFile(path) as archive:
        config = json.loads(archive.read("config.json"))
    change(config)
    return rewritten(path, target, config__json=json.dumps(config).encode())


def refused(read, path, words):
    with pytest.raises(ModelFileError, match=words) as raised:
        read(path)
    message = str(raised.value)
    # A long path is cut in its middle.
    assert message.startswith(str(path)[:15])
    assert f"/{path.name}: " in message
    assert "\n" not in message
    assert len(message) <= 300
    assert "not found" not in message.lower()


BROKEN = "must be a whole .keras file, found an incomplete or corrupt one "


# What a file says of itself.


def test_a_file_tells_what_is_in_it(good):
    facts, model = inspect_model(good), load_model(good)
    assert facts["kind"] == "LanguageModel"
    assert facts["parameters"] == model.count_params()
    assert facts["vocab_size"] == V == len(model.vocab)
    assert facts["bytes"] == good.stat().st_size
    assert facts["file"] == str(good)
    assert facts["keras_version"] == keras.__version__
    assert facts["provenance"] == model.provenance.to_dict()
    assert facts["provenance"]["corpus"]["name"] == "letters"
    assert facts["provenance"]["results"] == {"epoch": 1, "loss": 1.5, "perplexity": 4.5}
    settings = {"cell": "gru", "units": 6, "num_layers": 2, "dropout": 0.5, "tie_weights": False}
    assert settings.items() <= facts["settings"].items()
    assert "vocab" not in facts["settings"]


def test_inspecting_needs_no_keras_and_no_engine(good):
    program = (
        "import sys, kseq; facts = kseq.inspect_model(sys.argv[1]);"
        "heavy = {'keras', 'torch', 'jax', 'tensorflow', 'matplotlib'} & set(sys.modules);"
        "sys.exit(f'imported {heavy}' if heavy or facts['parameters'] < 1 else 0)"
    )
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "KERAS_BACKEND": "torch"}
    subprocess.run(
        [sys.executable, "-c", program, str(good)], env=environment, check=True, timeout=LONGEST
    )


# Broken files.


@BOTH
@pytest.mark.parametrize("part", [0, 0.01, 0.5, 0.99])
def test_a_truncated_file_is_refused(good, tmp_path, read, part):
    content = good.read_bytes()
    path = tmp_path / "model.keras"
    path.write_bytes(content[: int(len(content) * part)])
    refused(read, path, BROKEN)


@BOTH
def test_random_bytes_are_refused(tmp_path, read):
    path = tmp_path / "model.keras"
    path.write_bytes(random.Random(0).randbytes(5000))
    refused(read, path, BROKEN)


@BOTH
@pytest.mark.parametrize("member", ["config.json", "metadata.json", "model.weights.h5"])
def test_a_member_with_a_flipped_bit_is_named(good, tmp_path, read, member):
    with zipfile.ZipFile(good) as archive:
        content = archive.read(member)
    whole = bytearray(good.read_bytes())
    whole[whole.index(content[:200]) + len(content) // 2] ^= 4
    path = tmp_path / "model.keras"
    path.write_bytes(whole)
    refused(read, path, BROKEN + rf"\({member} does not match its checksum\); save the model")


def test_a_bit_flipped_anywhere_is_refused_or_harmless(good, tmp_path):
    whole, path, rng = good.read_bytes(), tmp_path / "model.keras", random.Random(0)
    told = {**inspect_model(good), "file": str(path)}
    refusals = 0
    for _ in range(300):
        flipped = bytearray(whole)
        flipped[rng.randrange(len(whole))] ^= 1 << rng.randrange(8)
        path.write_bytes(flipped)
        try:
            assert inspect_model(path) == told
        except ModelFileError:
            refusals += 1
    assert refusals > 200


@BOTH
@pytest.mark.parametrize("member", ["config.json", "metadata.json", "model.weights.h5"])
def test_a_missing_member_is_named(good, tmp_path, read, member):
    path = rewritten(good, tmp_path / "model.keras", **{member.replace(".", "__"): None})
    refused(read, path, BROKEN + rf"\({member} missing\)")


@BOTH
@pytest.mark.parametrize("content", [b"{", b"[]", b"null", b"\xff\xfe", b"[" * 100_000])
def test_a_configuration_that_is_none(good, tmp_path, read, content):
    path = rewritten(good, tmp_path / "model.keras", config__json=content)
    refused(read, path, "must be ")


@BOTH
def test_a_configuration_without_a_vocabulary(good, tmp_path, read):
    for change in (lambda facts: facts.pop("config"), lambda facts: facts["config"].pop("vocab")):
        path = with_config(good, tmp_path / "model.keras", change)
        refused(read, path, BROKEN + r"\(it has no vocabulary\)")


@BOTH
def test_a_model_may_come_from_nowhere(good, tmp_path, read):
    def change(config):
        config["config"].pop("provenance")

    read(with_config(good, tmp_path / "model.keras", change))


@BOTH
def test_weights_that_are_no_weights(good, tmp_path, read):
    path = rewritten(good, tmp_path / "model.keras", model__weights__h5=b"weights")
    refused(read, path, BROKEN)


# Files of others.


@BOTH
def test_another_keras_model_is_refused(tmp_path, read):
    path = tmp_path / "model.keras"
    keras.Sequential([keras.Input((3,)), keras.layers.Dense(2)]).save(path)
    refused(read, path, "must be a model saved by kseq, found another Keras model; load it with ")


@BOTH
@pytest.mark.parametrize(
    "name", ["model.h5", "model.hdf5", "model.pt", "model.pth", "m.safetensors"]
)
def test_other_formats_are_refused_with_a_hint(tmp_path, read, name):
    path = tmp_path / name
    path.write_bytes(b"content")
    refused(read, path, rf"must be a \.keras file, found '\{path.suffix}'; .*, use model\.save")


@BOTH
def test_a_folder_a_url_and_nothing_at_all(tmp_path, read):
    refused(read, tmp_path, "must be a .keras file, found a folder; name the file in it")
    with pytest.raises(ModelFileError, match="must be a local file, found a URL; download it"):
        read("https://example.org/model.keras")
    with pytest.raises(FileError, match="the model file must exist, found none; check the path"):
        read(tmp_path / "model.keras")


@BOTH
@pytest.mark.parametrize("version", ["99.0", "99.0.0", "0.99", f"{kseq.__version__}.1"])
def test_a_file_of_a_newer_kseq_is_refused(good, tmp_path, read, version):
    def change(config):
        config["config"]["provenance"]["kseq_version"] = version

    path = with_config(good, tmp_path / "model.keras", change)
    words = rf"must be made by kseq {kseq.__version__} or older, found {version}; upgrade"
    if version.count(".") > 2:
        # What comes after three numbers is no other format.
        read(path)
    else:
        refused(read, path, words)


@BOTH
def test_a_file_of_an_older_kseq_is_read(good, tmp_path, read):
    def change(config):
        config["config"]["provenance"]["kseq_version"] = "0.0.1"

    read(with_config(good, tmp_path / "model.keras", change))


# Parts that do not fit each other.


@BOTH
@pytest.mark.parametrize("options", [{}, {"tie_weights": True}], ids=["dense", "tied"])
def test_a_vocabulary_that_does_not_fit_the_layers_is_refused(tmp_path, read, options):
    tiny(**options).save(tmp_path / "good.keras")

    def change(config):
        config["config"]["vocab"]["tokens"].append("Ω")
        config["config"]["vocab"]["counts"].append(1)

    path = with_config(tmp_path / "good.keras", tmp_path / "model.keras", change)
    refused(read, path, f"vocabulary and layers must agree, found {V + 1} and {V} symbols; ")


def test_layers_that_do_not_fit_the_weights_are_refused(good, tmp_path):
    def change(config):
        config["config"]["units"] = 7

    path = with_config(good, tmp_path / "model.keras", change)
    refused(
        load_model, path, BROKEN + r"\(it could not be built: .*must be \(7, 21\), not \(7, 18\)\)"
    )


def test_a_vocabulary_that_is_none_is_refused(good, tmp_path):
    def change(config):
        config["config"]["vocab"]["tokens"][0] = "first"

    path = with_config(good, tmp_path / "model.keras", change)
    refused(load_model, path, "must be ")
    assert np.isfinite(inspect_model(good)["parameters"])
