"""A small good model file, put together without Keras: the one that others are made from."""

import io
import json
import zipfile

import h5py
import numpy as np

CONFIG, METADATA, WEIGHTS = "config.json", "metadata.json", "model.weights.h5"
LETTERS = ["<unk>", *"abcdef"]
V, H = len(LETTERS), 6


def good_config():
    """Give the configuration of a small compiled model, as Keras writes it."""
    return {
        "module": "kseq.nn.language_model",
        "class_name": "LanguageModel",
        "config": {
            "name": "language_model",
            "trainable": True,
            "dtype": {
                "module": "keras",
                "class_name": "DTypePolicy",
                "config": {"name": "float32"},
                "registered_name": None,
            },
            "vocab": {"tokens": LETTERS, "counts": [0, 5, 4, 3, 2, 1, 1]},
            "cell": "gru",
            "units": H,
            "num_layers": 2,
            "embedding_dim": None,
            "tie_weights": False,
            "dropout": 0.5,
            "init": "keras",
            "seed": 0,
            "provenance": {
                "corpus": None,
                "series": None,
                "epochs": 1,
                "results": {"epoch": 1.0, "loss": 1.5},
                "kseq_version": "0.1.0",
            },
        },
        "registered_name": "kseq>LanguageModel",
        "build_config": {"input_shape": [None, None]},
        "compile_config": {
            "optimizer": {
                "module": "kseq.nn.optimizers",
                "class_name": "ClippedSGD",
                "config": {"name": "clipped_sgd", "learning_rate": 1.0, "global_clipnorm": 1.0},
                "registered_name": "kseq>ClippedSGD",
            },
            "loss": {
                "module": "keras.losses",
                "class_name": "SparseCategoricalCrossentropy",
                "config": {"name": "loss", "from_logits": True},
                "registered_name": None,
            },
            "loss_weights": None,
            "metrics": None,
            "weighted_metrics": [
                {
                    "module": "kseq.nn.metrics",
                    "class_name": "Perplexity",
                    "config": {"name": "perplexity", "dtype": "float32", "from_logits": True},
                    "registered_name": "kseq>Perplexity",
                }
            ],
            "run_eagerly": False,
            "steps_per_execution": 1,
            "jit_compile": "auto",
        },
    }


def good_arrays():
    """Give the arrays that belong to `good_config`, by path."""
    rng = np.random.default_rng(0)
    cells = "layers/stack/recurrent/gru{}/cell/vars/{}"
    shapes = {
        cells.format("", 0): (V, 3 * H),
        cells.format("", 1): (H, 3 * H),
        cells.format("", 2): (2, 3 * H),
        cells.format("_1", 0): (H, 3 * H),
        cells.format("_1", 1): (H, 3 * H),
        cells.format("_1", 2): (2, 3 * H),
        "layers/stack/dense/vars/0": (H, V),
        "layers/stack/dense/vars/1": (V,),
    }
    arrays = {path: rng.normal(size=shape).astype("float32") for path, shape in shapes.items()}
    arrays["layers/stack/vars/seed_generator_0"] = np.array([1, 0], "int32")
    arrays["optimizer/vars/0"] = np.int32(3)
    arrays["optimizer/vars/1"] = np.float32(1.0)
    arrays["optimizer/vars/2"] = np.int32(0)
    return arrays


def weights(arrays, finish=None):
    """Give the bytes of an HDF5 file of `arrays`; `finish` may add to it before it is closed."""
    content = io.BytesIO()
    with h5py.File(content, "w") as file:
        for path, array in arrays.items():
            file[path] = array
        for group in ("vars", "layers/stack/dense/vars"):
            file.require_group(group).attrs["name"] = "a name"
        if finish:
            finish(file)
    return content.getvalue()


def good_members():
    """Give the members of a good file by name, in Keras's order."""
    metadata = {"keras_version": "3.15.1", "date_saved": "2026-01-01@00:00:00"}
    return {
        METADATA: json.dumps(metadata).encode(),
        CONFIG: json.dumps(good_config()).encode(),
        WEIGHTS: weights(good_arrays()),
    }


def archive(members, compression=zipfile.ZIP_STORED, finish=None):
    """Give the bytes of an archive of `members`, a dictionary or pairs that may repeat."""
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w", compression) as file:
        for name, member in members.items() if isinstance(members, dict) else members:
            file.writestr(name, member)
        if finish:
            finish(file)
    return content.getvalue()


GOOD = None


def good():
    """Give the bytes of a good file."""
    global GOOD
    GOOD = GOOD or archive(good_members())
    return GOOD
