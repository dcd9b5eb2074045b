"""Model files: what is saved comes back, trains on as if nothing had happened, on any engine."""

import json
import os
import subprocess
import sys
import zipfile
from pathlib import Path

import keras
import numpy as np
import pytest
import torch
from children import LONGEST
from language_cases import VOCAB, batch_steps, draw_ids, logits_of, same, tiny
from torch_twin import Twin

import kseq
from kseq import Corpus, FileError, SequentialBatches, UsageError, load_model
from kseq.backend import ENGINES

ROOT = Path(__file__).resolve().parent.parent
IDS = draw_ids(15).reshape(3, 5)


def config_of(path):
    with zipfile.ZipFile(path) as archive:
        return json.loads(archive.read("config.json"))


# What comes back.


@pytest.mark.parametrize(
    "options",
    [
        {"cell": "lstm", "num_layers": 2},
        {"cell": "gru", "tie_weights": True, "dropout": 0.2},
        {"cell": "simple_rnn", "embedding_dim": 3, "init": "d2l", "seed": 4},
        {"cell": "peephole_lstm"},
    ],
    ids=lambda options: options["cell"],
)
def test_a_file_gives_the_same_model(tmp_path, options):
    model, path = tiny(**options), tmp_path / "model.keras"
    model.save(path)
    loaded = load_model(path)
    assert type(loaded) is kseq.LanguageModel
    assert same(loaded.get_weights(), model.get_weights())
    assert loaded.get_config() == model.get_config()
    np.testing.assert_allclose(logits_of(loaded, IDS), logits_of(model, IDS), atol=1e-6)


def test_a_file_holds_the_vocabulary_with_its_counts(tmp_path):
    vocab = kseq.Vocab(["to", "be", "or", "not", "to", "be", "Ω"], reserved_tokens=["<pad>"])
    kseq.LanguageModel(vocab, "gru", 4, 1).save(tmp_path / "model.keras")
    loaded = load_model(str(tmp_path / "model.keras"))
    assert loaded.vocab == vocab
    assert loaded.vocab.token_freqs == vocab.token_freqs
    assert loaded.level == "word"
    assert loaded.generate("to be", 2).startswith("to be ")


def test_a_file_says_where_the_model_comes_from(tmp_path):
    corpus = Corpus.from_text("tick tock goes the clock, " * 5, name="clock")
    train, held_out = corpus.split(0.7)
    model = kseq.LanguageModel(train.vocab, "simple_rnn", 4, 1)
    model.compile()
    history = model.fit(
        SequentialBatches(train, 2, 5),
        validation_data=SequentialBatches(held_out, 2, 5),
        epochs=2,
        verbose=0,
    ).history
    model.save(tmp_path / "model.keras")
    facts = load_model(tmp_path / "model.keras").provenance
    assert facts.corpus == train.provenance
    assert (facts.corpus["name"], facts.corpus["sha256"]) == ("clock", corpus.sha256)
    assert (facts.corpus["level"], facts.corpus["cleaning"]) == ("char", "none")
    assert facts.epochs == 2
    assert facts.kseq_version == kseq.__version__
    figures = {name: values[-1] for name, values in history.items()}
    assert facts.results == pytest.approx({"epoch": 2, **figures})
    assert {"loss", "perplexity", "val_loss", "val_perplexity"} < set(facts.results)


# Going on.

OPTIMIZERS = {
    "sgd": lambda: kseq.clipped_optimizer("sgd", 0.5, momentum=0.9),
    "adam": lambda: kseq.clipped_optimizer("adam", 0.05),
    "adamw": lambda: kseq.clipped_optimizer("adamw", 0.05, clipnorm=0.1),
    "rmsprop one-cycle": lambda: kseq.clipped_optimizer(
        "rmsprop", kseq.schedule("one_cycle", 0.05, 10), global_clipnorm=0.5
    ),
    "keras.optimizers.Adam": lambda: keras.optimizers.Adam(0.05),
    "a name": lambda: "rmsprop",
}


def take_step(model, seed):
    """Let the optimizer take a step along made-up gradients."""
    rng = np.random.default_rng(seed)
    grads = [rng.normal(size=v.shape).astype("float32") for v in model.trainable_variables]
    model.optimizer.apply([keras.ops.convert_to_tensor(g) for g in grads])


@pytest.mark.parametrize("make", OPTIMIZERS.values(), ids=OPTIMIZERS)
def test_an_optimizer_goes_on_as_if_never_saved(tmp_path, make):
    model, path = tiny(), tmp_path / "model.keras"
    model.compile(make())
    take_step(model, 0)
    model.save(path)
    loaded = load_model(path)
    assert type(loaded.optimizer) is type(model.optimizer)
    assert loaded.optimizer.get_config() == model.optimizer.get_config()
    assert int(loaded.optimizer.iterations) == 1
    for one in (model, loaded):
        take_step(one, 1)
    assert same(loaded.get_weights(), model.get_weights())
    assert not same(model.get_weights(), tiny().get_weights())
    # No engine's own classes, which the others could not load.
    assert "keras.src.backend" not in json.dumps(config_of(path))


def test_dropout_goes_on_as_if_never_saved(tmp_path):
    model, path = tiny(num_layers=2, dropout=0.5), tmp_path / "model.keras"
    first = logits_of(model, IDS, training=True)
    model.save(path)
    second, again = (logits_of(one, IDS, training=True) for one in (model, load_model(path)))
    assert same([again], [second])
    assert not same([again], [first])


def test_an_optimizer_of_keras_is_named_as_every_engine_knows_it(tmp_path):
    model = tiny()
    model.compile(keras.optimizers.Adam(0.05))
    model.save(tmp_path / "model.keras")
    written = config_of(tmp_path / "model.keras")["compile_config"]["optimizer"]
    assert (written["module"], written["class_name"]) == ("keras.optimizers", "Adam")


def test_compilation_is_left_to_the_engine_that_reads_the_file(tmp_path):
    path = tmp_path / "model.keras"
    for asked, options in (("auto", {}), (False, {"jit_compile": False})):
        model = tiny()
        model.compile(**options)
        model.save(path)
        assert config_of(path)["compile_config"]["jit_compile"] == asked
        assert load_model(path).jit_compile == model.jit_compile


def test_half_precision_stays_half_precision(tmp_path):
    model = tiny("gru", dtype="mixed_bfloat16")
    model.save(tmp_path / "model.keras")
    loaded = load_model(tmp_path / "model.keras")
    assert loaded.compute_dtype == loaded.stack.recurrent[0].compute_dtype == "bfloat16"
    assert same([logits_of(loaded, IDS)], [logits_of(model, IDS)])


def test_a_model_saved_before_it_was_compiled_can_be_compiled(tmp_path):
    tiny().save(tmp_path / "model.keras")
    model = load_model(tmp_path / "model.keras")
    assert not model.compiled
    model.compile()
    assert type(model.optimizer).__name__ == "ClippedAdam"


# Between engines.

WRITER = """
import keras, numpy
from language_cases import batch_steps, tiny
model = tiny("lstm", num_layers=2, init="torch")
model.compile(keras.optimizers.Adam(0.05))
batch_steps(model)
model.save("model.keras")
batch_steps(model)
numpy.savez("later.npz", *model.get_weights())
"""


@pytest.mark.slow
@pytest.mark.parametrize("other", ENGINES)
def test_a_file_of_any_engine_gives_the_same_logits_and_trains_on(tmp_path, other):
    pytest.importorskip(other)
    subprocess.run(
        [sys.executable, "-c", WRITER],
        cwd=tmp_path,
        env={**os.environ, "KERAS_BACKEND": other, "PYTHONPATH": f"{ROOT}:{ROOT / 'tests'}"},
        check=True,
        timeout=LONGEST,
    )
    model = load_model(tmp_path / "model.keras")
    np.testing.assert_allclose(logits_of(model, IDS), twin_logits(model, IDS), atol=1e-5)
    batch_steps(model)
    with np.load(tmp_path / "later.npz") as later:
        for found, expected in zip(model.get_weights(), later.values(), strict=True):
            np.testing.assert_allclose(found, expected, atol=1e-5)


def twin_logits(model, ids):
    """Give the logits of bare PyTorch: equal to them, the engines are equal to each other."""
    with torch.no_grad():
        return Twin(model)(torch.from_numpy(ids).long())[0].numpy()


# Whole or not at all.


def interrupted(*args, **kwargs):
    raise OSError(28, "No space left on device")


@pytest.mark.parametrize("method", ["writestr", "open"])
def test_a_save_that_fails_leaves_the_old_file_alone(tmp_path, monkeypatch, method):
    model, path = tiny(), tmp_path / "model.keras"
    model.save(path)
    before = path.read_bytes()
    with monkeypatch.context() as patch:
        patch.setattr(zipfile.ZipFile, method, interrupted)
        with pytest.raises(OSError, match="No space left"):
            tiny(seed=2).save(path)
    assert path.read_bytes() == before
    assert [file.name for file in tmp_path.iterdir()] == ["model.keras"]


def test_an_interrupt_leaves_the_old_file_alone(tmp_path, monkeypatch):
    model, path = tiny(), tmp_path / "model.keras"
    model.save(path)
    before = path.read_bytes()

    def half(self, filepath, **options):
        Path(filepath).write_bytes(before[: len(before) // 2])
        raise KeyboardInterrupt

    monkeypatch.setattr(keras.Model, "save", half)
    with pytest.raises(KeyboardInterrupt):
        model.save(path)
    assert path.read_bytes() == before
    assert [file.name for file in tmp_path.iterdir()] == ["model.keras"]


def test_a_file_is_replaced_unless_it_must_not_be(tmp_path):
    path = tmp_path / "model.keras"
    tiny(seed=1).save(path)
    with pytest.raises(UsageError, match=r"model\.keras: the file must not exist yet, found one; "):
        tiny(seed=2).save(path, overwrite=False)
    assert load_model(path).seed == 1
    tiny(seed=2).save(path)
    assert load_model(path).seed == 2


@pytest.mark.parametrize("name", ["model.h5", "model", "model.keras.zip", "keras"])
def test_a_file_of_another_name_is_refused(tmp_path, name):
    with pytest.raises(UsageError, match=r": a model file must end in '\.keras', found another"):
        tiny().save(tmp_path / name)
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_is_missing_is_named(tmp_path):
    with pytest.raises(FileError, match=r"nowhere/model\.keras: the folder must exist and be "):
        tiny().save(tmp_path / "nowhere" / "model.keras")


def test_the_vocabulary_must_be_one_that_can_be_written(tmp_path):
    model = kseq.LanguageModel(kseq.Vocab([("to", "be")]), "gru", 2, 1)
    with pytest.raises(kseq.DataError, match="vocabulary: must hold only strings to be saved"):
        model.save(tmp_path / "model.keras")
    assert list(tmp_path.iterdir()) == []
    assert VOCAB.idx_to_token[0] == "<unk>"


# Each letter takes six bytes of a configuration.
LONG_WORDS = kseq.Vocab([f"{'я' * 30}{number}" for number in range(30_000)])


@pytest.mark.engine("torch")
def test_long_words_beside_few_weights_come_back(tmp_path):
    model = kseq.LanguageModel(LONG_WORDS, "simple_rnn", 24, 1, embedding_dim=24)
    model.compile(kseq.clipped_optimizer("sgd", 1.0))
    model.save(tmp_path / "model.keras")
    assert len(config_of(tmp_path / "model.keras")["config"]["vocab"]["tokens"]) >= 30_000
    assert len(load_model(tmp_path / "model.keras").vocab) == len(LONG_WORDS)


@pytest.mark.engine("torch")
def test_what_could_not_be_loaded_is_not_saved(tmp_path):
    model = kseq.LanguageModel(LONG_WORDS, "simple_rnn", 2, 1, embedding_dim=2)
    with pytest.raises(UsageError, match=r"must have a configuration that may be loaded, found 5,"):
        model.save(tmp_path / "model.keras")
    assert list(tmp_path.iterdir()) == []
