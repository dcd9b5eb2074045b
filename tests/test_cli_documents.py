"""Several texts on the command line: what is held out of each, how they are mixed and judged."""

from pathlib import Path

import pytest
from command_line import FOX, QUICK, refused, works

import kseq

pytestmark = pytest.mark.engine("torch")


@pytest.fixture(autouse=True)
def texts(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("fox.txt").write_text(FOX * 10 + "\n")
    Path("owl.txt").write_text("an owl is no fox\n" * 20)
    return len(FOX) * 10 + 1, 17 * 20


def test_a_training_holds_out_a_share_of_each_text_and_tells_of_each(texts):
    said = works("train", "fox.txt", "owl.txt", *QUICK, "--json", "--run-dir", "r")
    fox, owl = (size - int(size * 0.9) for size in texts)
    held_out = said.report["held_out"]
    told = [(each["name"], each["tokens"]) for each in held_out["documents"]]
    assert [name for name, _ in told] == ["fox.txt", "owl.txt"]
    assert all(0 < tokens < size for (_, tokens), size in zip(told, (fox, owl), strict=True))
    assert said.report["training"]["tokens"] == sum(texts) - fox - owl
    words = works("train", "fox.txt", "owl.txt", *QUICK, "--run-dir", "w").out
    assert "\nfox.txt " in words
    assert "\nowl.txt " in words


def test_a_model_is_judged_on_what_each_of_its_texts_held_out(texts):
    trained = works(
        "train", "fox.txt", "owl.txt", *QUICK, "--json", "--run-dir", "r", "--mix=1.5,2"
    )
    judged = works("evaluate", "r/model.keras", "--json", "--batch-size=4", "--num-steps=10").report
    held_out = trained.report["held_out"]
    assert judged["documents"] == held_out["documents"]
    assert judged["perplexity"] == pytest.approx(held_out["perplexity"], rel=1e-6)
    assert judged["floors"] == pytest.approx(held_out["floors"])
    facts = kseq.inspect_model("r/model.keras")["provenance"]["corpus"]
    assert facts["documents"] == ["fox.txt", "owl.txt", "fox.txt", "owl.txt"]
    said = works("inspect", "r/model.keras").out
    assert f"tokens  fox.txt 0 to {int(texts[0] * 0.9):,}; owl.txt {texts[0]:,} to" in said


def test_half_of_a_text_is_judged_on_what_its_training_part_left(texts):
    words = ("train", "fox.txt", "--mix", "0.5", *QUICK, "--json", "--run-dir", "r")
    trained = works(*words).report
    judged = works("evaluate", "r/model.keras", "--json", "--batch-size=4", "--num-steps=10").report
    facts = kseq.inspect_model("r/model.keras")["provenance"]["corpus"]
    cut = int(texts[0] * 0.9)
    assert facts["pieces"] == [0, cut // 2]
    assert facts["held_out"] == [cut, facts["total"]]
    assert judged["tokens"] == trained["held_out"]["tokens"]
    assert judged["perplexity"] == pytest.approx(trained["held_out"]["perplexity"], rel=1e-6)


def test_a_mixture_of_the_first_tokens_is_judged_on_those_that_follow():
    words = ("fox.txt", "owl.txt", "--mix", "0.5,1", "--max-tokens", "600", "--valid", "150")
    works("train", *words, *QUICK, "--run-dir", "r")
    facts = kseq.inspect_model("r/model.keras")["provenance"]["corpus"]
    assert facts["held_out"] == [600, facts["total"]]


def test_each_document_is_judged_as_if_it_were_alone():
    works("train", "fox.txt", *QUICK, "--run-dir", "r")
    both = works("evaluate", "r/model.keras", "fox.txt", "owl.txt", "--json").report
    alone = works("evaluate", "r/model.keras", "owl.txt", "--json").report
    assert alone["documents"] == []
    assert both["documents"][1]["perplexity"] == pytest.approx(alone["perplexity"], rel=1e-6)


def test_weights_change_what_an_epoch_reads_and_nothing_else(texts):
    words = ("train", "fox.txt", "owl.txt", *QUICK, "--json")
    once = works(*words, "--run-dir", "once").report
    more = works(*words, "--run-dir", "more", "--mix", "1,2").report
    assert more["training"]["tokens"] == once["training"]["tokens"] + int(texts[1] * 0.9)
    assert more["vocab_size"] == once["vocab_size"]
    sizes = [
        [each["tokens"] for each in report["held_out"]["documents"]] for report in (once, more)
    ]
    assert sizes[0] == sizes[1]


def test_a_run_goes_on_only_with_the_mixture_it_was_begun_with():
    words = ("train", "fox.txt", "fox.txt", *QUICK, "--run-dir", "r", "--checkpoint-steps", "1")
    works(*words, "--mix", "1,2")
    line = refused(2, *words, "--mix", "2,1", "--resume")
    assert "a resumed run must keep its settings, found" in line
    assert "pieces" in line


@pytest.mark.parametrize(
    ("mix", "said"),
    [
        ("1,2,3", "weights: must be one for each of the 2 documents, found 3;"),
        ("1,x", "--mix: must be a number, found 'x';"),
        ("0,0", "weights: must have one above 0, found [0.0, 0.0];"),
    ],
)
def test_mixtures_that_cannot_be(mix, said):
    assert said in refused(2, "train", "fox.txt", "owl.txt", *QUICK, "--mix", mix)


def test_a_file_that_names_parts_the_text_lacks_is_told(monkeypatch):
    works("train", "fox.txt", "owl.txt", *QUICK, "--run-dir", "r")
    model = kseq.load_model("r/model.keras")
    for places in ([0, 10**9], [5, 2], [3]):
        model.provenance.corpus["held_out"] = places
        model.save("other.keras")
        line = refused(3, "evaluate", "other.keras")
        assert "fox.txt+owl.txt: must have the parts that the model file names, found" in line
