"""scripts/train_language_model.py and scripts/generate_text.py, as a user would run them."""

import runpy
from pathlib import Path

import pytest
from command_line import FOX

import kseq

pytestmark = pytest.mark.engine("torch")

SCRIPTS = Path(__file__).resolve().parent.parent / "scripts"
TEXT = FOX * 210  # a batch of 32 x 35 and its targets in the tenth that is held out


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """The folder of a saved model, and what the script said on the way."""
    folder = tmp_path_factory.mktemp("scripts")
    (folder / "fox.txt").write_text(TEXT)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        said = run(patch, "train_language_model", "fox.txt", "--units", "4", "--epochs", "1")
    return folder, said


def run(patch, name, *words):
    said = []
    patch.setattr("builtins.print", lambda *parts, **_: said.append(" ".join(map(str, parts))))
    main = runpy.run_path(str(SCRIPTS / f"{name}.py"))["main"]
    main([*words])
    return said


def test_training_tells_the_held_out_perplexity_and_a_sample(trained):
    lines = trained[1]

    assert lines[0].startswith("held out: ")
    assert float(lines[0].split()[-1]) < 29
    assert len(lines[1]) == 10 + 50
    assert lines[1].startswith(FOX[:10])
    assert lines[2] == "saved as language_model.keras"


def test_the_saved_model_knows_its_text_and_goes_on_training(trained, monkeypatch):
    monkeypatch.chdir(trained[0])
    model = kseq.load_model("language_model.keras")

    assert (model.cell, model.units, model.num_layers) == ("lstm", 4, 2)
    assert model.provenance.corpus["name"] == "fox.txt"
    assert model.provenance.epochs == 1
    model.fit(
        kseq.SequentialBatches(kseq.load_corpus("fox.txt").with_vocab(model.vocab)), verbose=0
    )
    assert model.provenance.epochs == 2


def test_another_cell_can_be_chosen(trained, monkeypatch):
    monkeypatch.chdir(trained[0])
    words = ["fox.txt", "--cell", "gru", "--units", "4", "--epochs", "1", "--save", "gru.keras"]
    run(monkeypatch, "train_language_model", *words)

    assert kseq.inspect_model("gru.keras")["settings"]["cell"] == "gru"


def test_generating_prints_the_prompt_and_the_pieces(trained, monkeypatch):
    monkeypatch.chdir(trained[0])
    words = ["language_model.keras", "the ", "--length", "30", "--temperature", "1", "--seed", "2"]
    pieces = run(monkeypatch, "generate_text", *words)

    model = kseq.load_model("language_model.keras")
    assert "".join(pieces) == model.generate("the ", 30, temperature=1.0, seed=2)
    assert pieces[0] == "the "
