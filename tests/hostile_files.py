"""Hostile and broken model files: `make(folder)` writes them, each with the words that refuse it.

Run as a script, `python tests/hostile_files.py FOLDER`, to have them for trying other programs on.
Needs NumPy and h5py alone: the files start from one small model that is put together here.
"""

import gzip
import json
import os
import pickle
import random
import struct
import sys
import warnings
import zipfile
import zlib
from pathlib import Path

from good_model_file import (
    CONFIG,
    METADATA,
    WEIGHTS,
    archive,
    good,
    good_arrays,
    good_members,
    weights,
)
from hostile_structures import structures
from hostile_ways import (
    DAMAGED,
    LAMBDA,
    UNKNOWN_PART,
    Runs,
    as_tar,
    central,
    config_text,
    deep,
    flipped,
    flipped_in,
    forecaster,
    good_corpus,
    huge_vocabulary,
    longer_vocabulary,
    named_function,
    nested_bomb,
    newer,
    npz,
    overlapping,
    part,
    repeated_key,
    safetensors,
    with_compilation,
    with_config,
    with_directory,
    with_field,
    with_forecaster,
    with_members,
    with_settings,
    without_vocabulary,
    zip64_lie,
)
from hostile_weights import arrays, hdf5, with_weights_bytes

# Every file: what it holds, and the words with which it is refused.


def truncated():
    length = len(good())
    cuts = {"1-byte": 1, "header": 29, "half": length // 2, "directory": length - 60}
    cuts |= {"last-byte": length - 1, "quarter": length // 4}
    return {f"cut-{name}": (good()[:cut], DAMAGED) for name, cut in cuts.items()}


def flips():
    found = {
        f"flip-{member}": (flipped_in(member), "does not match its checksum")
        for member in (CONFIG, METADATA, WEIGHTS)
    }
    at = central(good())
    places = {"signature": 0, "flags": 6, "method": 8, "crc": 14, "size": 18, "name": 31}
    found |= {f"flip-local-{name}": (flipped(place), DAMAGED) for name, place in places.items()}
    found["flip-directory-crc"] = flipped(at + 16), DAMAGED
    found["flip-directory-offset"] = flipped(at + 42), DAMAGED
    found["flip-end"] = flipped(len(good()) - 10), DAMAGED
    found["flip-superblock-repaired"] = with_weights_bytes(lambda c: c.__setitem__(8, 9)), DAMAGED
    return found


def bombs():
    members = good_members()
    zeros = {**members, WEIGHTS: bytes(3 * 10**7)}
    return {
        "deflated": (archive(members, zipfile.ZIP_DEFLATED), "is compressed, encrypted"),
        "deflated-bomb": (archive(zeros, zipfile.ZIP_DEFLATED), "is compressed, encrypted"),
        "bzip2-bomb": (archive(zeros, zipfile.ZIP_BZIP2), "is compressed, encrypted"),
        "lzma-bomb": (archive(zeros, zipfile.ZIP_LZMA), "is compressed, encrypted"),
        "nested-bomb": (nested_bomb(), DAMAGED),
        "overlapping": (overlapping(), DAMAGED),
        "declared-huge": (with_field(24, "<L", 2**31), "two sizes"),
        "declared-huge-both": (
            with_directory(lambda c, at: struct.pack_into("<2L", c, at + 20, 2**31, 2**31)),
            DAMAGED,
        ),
        "zip64-lie": (zip64_lie(), DAMAGED),
        "encrypted-flag": (with_field(8, "<H", 1), "is compressed, encrypted"),
        "streamed-flag": (with_field(8, "<H", 8), "is compressed, encrypted"),
        "junk-before": (b"junk" + good(), DAMAGED),
        "junk-after": (good() + b"junk", DAMAGED),
        "two-archives": (good() + good(), DAMAGED),
        "comment": (archive(members, finish=lambda f: setattr(f, "comment", b"hi")), DAMAGED),
        "entry-comment": (with_field(32, "<H", 4), DAMAGED),
        "many-members": (
            archive([*members.items(), *((f"a{i}", b"") for i in range(5000))]),
            DAMAGED,
        ),
    }


def members():
    good_ones = good_members()
    found = {
        f"without-{name}": (
            archive({other: content for other, content in good_ones.items() if other != name}),
            f"{name} missing",
        )
        for name in good_ones
    }
    strange = [
        "../config.json",
        "/etc/config.json",
        "..\\config.json",
        "CONFIG.JSON",
        "assets/a.py",
        "config.json ",
    ]
    for name in strange:
        label = name.replace("/", "|").replace("\\", "!")
        found[f"extra-{label}"] = archive({**good_ones, name: b"{}"}), "does not belong"
    found["no-members"] = archive({}), "missing"
    name = METADATA.encode()
    nul = good().replace(name, name[:-1] + b"\0")
    found["nul-in-name"] = nul, DAMAGED
    twice = [*good_ones.items(), (CONFIG, b"{}")]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        found["config-twice"] = archive(twice), "twice"
    return found


def code():
    layer = part("keras.layers", "Lambda", config={"name": "lambda", "function": LAMBDA})
    registered = "must be a model saved by kseq"
    found = {
        "lambda-model": (
            with_config(lambda c: c.update(class_name="Lambda", registered_name="Lambda")),
            registered,
        ),
        "lambda-setting": (with_settings(cell=layer), "cell cannot be"),
        "lambda-extra-setting": (with_settings(kwargs=layer), "kwargs cannot be"),
        "lambda-loss": (with_compilation(loss=LAMBDA), UNKNOWN_PART),
        "lambda-metric": (with_compilation(metrics=[LAMBDA]), UNKNOWN_PART),
        "lambda-in-schedule": (
            with_compilation(
                optimizer=part("keras.optimizers", "SGD", config={"learning_rate": LAMBDA})
            ),
            UNKNOWN_PART,
        ),
        "typename": (with_compilation(loss={"class_name": "__typename__"}), UNKNOWN_PART),
        "registered-name-of-another": (
            with_config(lambda c: c.update(registered_name="kseq>LSTM")),
            "in words that are not kseq's",
        ),
        "registered-name-shadows": (
            with_config(lambda c: c.update(module="evil", registered_name="kseq>LanguageModel")),
            "in words that are not kseq's",
        ),
        "loss-shadows-ours": (
            with_compilation(loss=part("evil", "Perplexity", "kseq>Perplexity")),
            UNKNOWN_PART,
        ),
        "foreign-policy": (
            with_settings(dtype=part("keras", "QuantizedDTypePolicy", config={"mode": "int8"})),
            "dtype cannot be",
        ),
        "policy-by-module": (
            with_settings(dtype=part("os", "DTypePolicy", config={"name": "float32"})),
            "dtype cannot be",
        ),
        "sequential": (
            with_config(lambda c: part("keras", "Sequential", None, {"layers": [layer]})),
            registered,
        ),
        "a-cell-of-ours": (
            with_config(lambda c: c.update(class_name="LSTM", registered_name="kseq>LSTM")),
            "names no model of kseq",
        ),
        "compile-key": (with_compilation(custom_objects={"a": 1}), "custom_objects"),
        "model-key": (with_config(lambda c: c.update(inbound=[1])), "in words that are not"),
    }
    calls = {
        "os": "system",
        "keras.utils": "get_file",
        "keras.config": "enable_unsafe_deserialization",
        "builtins": "eval",
        "subprocess": "Popen",
        "keras.src.saving": "load_model",
    }
    for module, name in calls.items():
        found[f"calls-{module}.{name}"] = (
            with_compilation(loss=named_function(module, name)),
            UNKNOWN_PART,
        )
        found[f"class-{module}.{name}"] = (
            with_compilation(optimizer=part(module, name)),
            UNKNOWN_PART,
        )
    return found


def sizes():
    return {
        "units-10^12": (with_settings(units=10**12), "units cannot be"),
        "units-65536": (with_settings(units=65536), "must be"),
        "units-nan": (config_text('"units": 6', '"units": NaN'), "units cannot be"),
        "units-infinity": (config_text('"units": 6', '"units": Infinity'), "units cannot be"),
        "units-1e999": (config_text('"units": 6', '"units": 1e999'), "units cannot be"),
        "units-text": (with_settings(units="6"), "units cannot be"),
        "units-true": (with_settings(units=True), "units cannot be"),
        "units-zero": (with_settings(units=0), "units cannot be"),
        "num_layers-10^9": (with_settings(num_layers=10**9), "num_layers cannot be"),
        "num_layers-1024": (with_settings(num_layers=1024), "missing"),
        "window-10^9": (with_config(forecaster), "window cannot be"),
        "vocabulary-10^6": (with_config(huge_vocabulary), "is too long"),
        "vocabulary-longer": (with_config(longer_vocabulary), "vocabulary and layers must agree"),
        "vocabulary-none": (with_config(without_vocabulary), "no vocabulary"),
        "vocabulary-repeats": (
            with_settings(vocab={"tokens": ["<unk>", *"aabcde"]}),
            "twice",
        ),
        "vocabulary-of-numbers": (with_settings(vocab={"tokens": ["<unk>", 1]}), "token 1"),
        "embedding-10^6": (with_settings(embedding_dim=10**6), "embedding_dim cannot be"),
        "dropout-2": (with_settings(dropout=2), "dropout cannot be"),
        "thresholds-10^9": (
            with_compilation(
                metrics=[part("keras.metrics", "AUC", config={"num_thresholds": 1e9})]
            ),
            UNKNOWN_PART,
        ),
        "rows-10^9": (
            with_compilation(
                metrics=[part("keras.metrics", "R2Score", config={"num_regressors": 10**9})]
            ),
            "num_regressors cannot be",
        ),
    }


def told():
    """What a file says of its training, and of what a forecaster has seen."""
    text = good_corpus()
    of_texts = {
        "corpus-name-alone": {"corpus": {"name": "x"}},
        "corpus-name-a-number": {"corpus": {**text, "name": 1}},
        "corpus-total-a-word": {"corpus": {**text, "total": "1"}},
        "corpus-places-in-words": {"corpus": {**text, "held_out": ["0", 2]}},
        "corpus-cleaning": {"corpus": {**text, "cleaning": "x"}},
        "series-seed-alone": {"series": {"seed": 0}},
        "series-name-a-number": {"series": {"name": 7, "seed": 0}},
        "results-10^400": {"results": {"loss": 10**400}},
        "results-of-words": {"results": {"loss": "1"}},
        "provenance-more": {"more": 1},
    }
    of_forecasters = {
        "margins-none": {"margins": {}},
        "margins-empty": {"margins": {"0.9": []}},
        "margins-uneven": {"margins": {"0.5": [1.0, 1.0], "0.9": [1.0]}},
        "margins-1e308": {"margins": {"0.9": [1e308]}},
        "fitted-1e308": {"fitted": {"mean": 1e308, "scale": 1.0}},
        "fitted-1e-300": {"fitted": {"mean": 0.0, "scale": 1e-300}},
    }
    found = {
        name: (with_settings(provenance=facts), "provenance cannot be")
        for name, facts in of_texts.items()
    }
    return found | {
        name: (with_forecaster(**settings), f"{name.partition('-')[0]} cannot be")
        for name, settings in of_forecasters.items()
    }


def patterns():
    """Regular expressions, which Keras's Muon would search the paths of the weights for."""
    words = {"slow": ["([a-z_/]+)+!"], "a-word": "dense", "long": ["a" * 101], "many": ["a"] * 101}
    return {
        f"pattern-{name}": (
            with_compilation(
                optimizer=part("keras.optimizers", "Muon", config={"exclude_layers": value})
            ),
            "by letters, digits, _ and / alone",
        )
        for name, value in words.items()
    }


def jsons():
    member = {"config": "config.json", "metadata": "metadata.json"}
    deep_text = b"[" * 5000 + b"]" * 5000
    found = {}
    for name in member:
        found |= {
            f"{name}-empty": (with_members(**{name: b""}), "is no JSON"),
            f"{name}-list": (with_members(**{name: b"[]"}), "is no JSON object"),
            f"{name}-utf16": (with_members(**{name: "{".encode("utf-16")}), "is no JSON"),
            f"{name}-deep": (with_members(**{name: deep_text}), "is no JSON"),
            f"{name}-10-MB-of-brackets": (with_members(**{name: b"[" * 10**7}), "is too long"),
            f"{name}-100000-brackets": (
                with_members(**{name: b"[" * 10**5}),
                "nested too much" if name == "config" else "is too long",
            ),
        }
    return found | {
        "config-key-twice": (repeated_key(), "a key is there twice"),
        "config-unclosed-string": (
            with_members(config=b"[" * 10_001 + b'"' + b'\\"' * 2_000_000),
            "nested too much",
        ),
        "config-quotes": (with_members(config=b"[" * 10_001 + b'"' * 4_000_000), "nested too much"),
        "config-commas": (
            with_members(config=b'{"a": [' + b"0," * 2_000_000 + b"0]}"),
            "too many parts",
        ),
        "config-keys": (
            with_members(config=json.dumps(dict.fromkeys(map(str, range(200_000)))).encode()),
            "too many parts",
        ),
        "config-deep-loss": (with_config(deep), "nested too much"),
        "config-huge-int": (config_text('"units": 6', '"units": 1' + "0" * 5000), "is no JSON"),
        "metadata-nested": (with_members(metadata=b'{"a": {"b": 1}}'), "more than words"),
    }


def formats():
    png = b"\x89PNG\r\n\x1a\n" + struct.pack(">L4s2L5BL", 13, b"IHDR", 1, 1, 8, 2, 0, 0, 0, 0)
    rng = random.Random(0)
    return {
        "hdf5-alone": (weights(good_arrays()), DAMAGED),
        "safetensors-alone": (safetensors(), DAMAGED),
        "npz-alone": (npz(), "missing"),
        "pickle": (pickle.dumps(Runs()), DAMAGED),
        "pt": (archive({"model/data.pkl": pickle.dumps(Runs())}), "missing"),
        "gzip": (gzip.compress(good(), mtime=0), DAMAGED),
        "zlib": (zlib.compress(good()), DAMAGED),
        "tar": (as_tar(), DAMAGED),
        "png": (png, DAMAGED),
        "elf": (b"\x7fELF\2\1\1" + bytes(5000), DAMAGED),
        "text": (b"a model\n" * 100, DAMAGED),
        "html": (b"<!DOCTYPE html><html><body>Sign in</body></html>", DAMAGED),
        "empty": (b"", DAMAGED),
        "zeros": (bytes(10**5), DAMAGED),
        "random": (rng.randbytes(10**5), DAMAGED),
        "newer": (with_config(newer), "upgrade"),
    }


GROUPS = (
    *(truncated, flips, bombs, members, code, told, patterns),
    *(hdf5, structures, sizes, arrays, jsons, formats),
)


def write_sparsely(path, content):
    """Write a file whose zeros take no place on the disk."""
    with open(path, "wb") as file:
        for at in range(0, len(content), 2**20):
            piece = content[at : at + 2**20]
            if piece.strip(b"\0"):
                file.seek(at)
                file.write(piece)
        file.truncate(len(content))


def other_things(folder):
    """Make what is no regular file, or has another ending; give each with its words."""
    os.mkfifo(folder / "pipe.keras")
    (folder / "folder.keras").mkdir()
    (folder / "device.keras").symlink_to("/dev/zero")
    (folder / "null.keras").symlink_to("/dev/null")
    with open(folder / "sparse.keras", "wb") as file:
        file.truncate(17 * 2**30)
    write_sparsely(folder / "sparse-zeros.keras", with_members(weights=bytes(60 * 2**20)))
    commas = b'{"a": [' + b"0," * 7_000_000 + b"0]}"
    write_sparsely(
        folder / "sparse-long-config.keras", with_members(config=commas, weights=bytes(60 * 2**20))
    )
    # Each item becomes a string of its own: a few more short ones, as many long ones as are read.
    for name, item, count in (
        ("short", b'"abcd"', 1_900_000),
        ("long", b'"%s"' % (b"x" * 25), 524_000),
    ):
        config = b'{"a": [' + b",".join([item] * count) + b"]}"
        write_sparsely(
            folder / f"sparse-{name}-items.keras",
            with_members(config=config, weights=bytes(60 * 2**20)),
        )
    found = {
        "pipe.keras": "must be a regular file",
        "folder.keras": "found a folder",
        "device.keras": "must be a regular file",
        "null.keras": "must be a regular file",
        "sparse.keras": "must be a regular file below 16 GiB",
        "sparse-zeros.keras": "not in the format",
        "sparse-long-config.keras": "too many parts",
        "sparse-short-items.keras": "too many parts",
        "sparse-long-items.keras": "found another Keras model",
    }
    for ending in (".h5", ".hdf5", ".pt", ".pth", ".safetensors"):
        (folder / f"model{ending}").write_bytes(good())
        found[f"model{ending}"] = "must be a .keras file"
    found = {name: (folder / name, words) for name, words in found.items()}
    for scheme in ("https", "s3", "gs", "file"):
        url = Path(f"{scheme}://example.org/model.keras")
        found[f"url-{scheme}"] = url, "must be a local file, found a URL"
    return found


def make(folder):
    """Write every file into `folder`; give {name: (path, words of its refusal)}."""
    folder = Path(folder)
    found = {}
    for group in GROUPS:
        for name, (content, words) in group().items():
            path = folder / f"{name}.keras"
            path.write_bytes(content)
            found[name] = path, words
    return found | other_things(folder)


if __name__ == "__main__":
    Path(sys.argv[1]).mkdir(parents=True, exist_ok=True)
    for name, (path, words) in make(sys.argv[1]).items():
        print(f"{name:34} {words:40} {path}")
