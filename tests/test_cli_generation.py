"""The generation group: prompts, lengths, temperatures and what `kseq generate` makes of them."""

from pathlib import Path

import pytest
from command_line import FOX, QUICK, refused, works

MODEL = "run/model.keras"


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    """A folder with a model by character and one by word."""
    folder = tmp_path_factory.mktemp("models")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        Path("fox.txt").write_text(FOX * 4)
        works("train", "fox.txt", *QUICK, "--run-dir", "run")
        word = ["--level", "word", "--num-steps", "5"]
        works("train", "fox.txt", *QUICK, *word, "--run-dir", "word")
    return folder


@pytest.fixture(autouse=True)
def folder(home, monkeypatch):
    monkeypatch.chdir(home)


def generate(*options):
    return works("generate", MODEL, *options)


def test_the_prompt_and_so_many_tokens_are_printed():
    said = generate("the quick ", "--length", "30")

    assert said.out.startswith("the quick ")
    assert len(said.out) == len("the quick ") + 30 + 1
    assert said.out.endswith("\n")
    assert said.err == ""


def test_json_is_one_object_with_the_same_text():
    words = ["the quick ", "--length", "30", "--temperature", "0.5", "--seed", "3"]
    said, report = generate(*words), generate(*words, "--json").report

    assert report["prompt"] == "the quick "
    assert f"{report['text']}\n" == said.out
    assert (report["temperature"], report["seed"], report["top_k"]) == (0.5, 3, None)


def test_an_unseen_character_is_named_with_its_position():
    line = refused(3, "generate", MODEL, "the Fox #1")
    assert "prompt: every symbol must be in the model's vocabulary, found 'F' at position 5" in line
    assert "write 'f', or pass" in line
    assert line.endswith("(--unknown unk)")


def test_an_unseen_word_is_named_with_its_position():
    line = refused(3, "generate", "word/model.keras", "the lazy zebra")
    assert "found 'zebra' at position 3" in line


def test_unseen_characters_are_read_as_unknown_on_request():
    said = generate("the #!", "--unknown", "unk", "--length", "5")
    assert said.out.startswith("the #!")


def test_training_refuses_a_prompt_it_could_not_continue_before_it_starts():
    line = refused(3, "train", "fox.txt", *QUICK, "--run-dir", "new", "--prompt", "the #")
    assert "must be in the training text's vocabulary, found '#' at position 5" in line
    assert line.endswith("; choose another --prompt")
    assert not Path("new").exists()


@pytest.mark.parametrize("words", [[], [""]])
def test_an_empty_prompt_begins_after_a_space(words):
    said, after_space = generate(*words, "--length", "9"), generate(" ", "--length", "9")
    assert f" {said.out}" == after_space.out


def test_a_prompt_longer_than_num_steps_will_do():
    prompt = (FOX * 4)[:200]
    assert generate(prompt, "--length", "3").out.startswith(prompt)


def test_length_0_prints_the_prompt():
    assert generate("the fox", "--length", "0").out == "the fox\n"


@pytest.mark.parametrize("word", ["-1", "1.5", "1000000000000", "x"])
def test_lengths_are_whole_numbers_from_0(word):
    assert "--length: must be a whole number" in refused(2, "generate", MODEL, "--length", word)


def test_temperature_0_is_greedy_and_the_default():
    options = ["the ", "--length", "20"]
    assert generate(*options).out == generate(*options, "--temperature", "0", "--seed", "9").out


@pytest.mark.parametrize("word", ["-0.5", "-1", "nan", "inf"])
def test_temperatures_are_finite_and_not_negative(word):
    # There is no such model: the temperature is looked at first.
    line = refused(2, "generate", "none.keras", "a", "--temperature", word)
    assert "temperature: must be a finite number, at least 0, found" in line


@pytest.mark.parametrize("option", ["--temperature", "--top-p"])
def test_numbers_are_no_words(option):
    line = refused(2, "generate", "none.keras", option, "warm")
    assert f"{option}: must be a number, found 'warm'" in line


@pytest.mark.parametrize("word", ["0", "-1", "1.5", "nan"])
def test_top_p_is_above_0_and_at_most_1(word):
    line = refused(2, "generate", "none.keras", "a", "--top-p", word)
    assert "top_p: must be above 0 and at most 1" in line


@pytest.mark.parametrize("word", ["0", "-1", "2.5", "1000000000000"])
def test_top_k_is_a_whole_number_from_1(word):
    assert "--top-k: must be a whole number" in refused(
        2, "generate", "none.keras", "--top-k", word
    )


def test_top_k_above_the_vocabulary_is_all_of_it_with_a_note():
    options = ["the ", "--length", "40", "--temperature", "2", "--seed", "1"]
    said = generate(*options, "--top-k", "1000")

    assert said.notes == ["kseq: note: --top-k 1000 is all 29 symbols"]
    assert said.out == generate(*options).out
    assert generate(*options, "--top-k", "1000", "--quiet").err == ""
    assert generate(*options, "--top-k", "29").err == ""


def test_the_same_seed_gives_the_same_text():
    options = ["the ", "--length", "40", "--temperature", "2", "--seed"]
    assert generate(*options, "1").out == generate(*options, "1").out
    assert generate(*options, "1").out != generate(*options, "2").out


def test_the_text_ends_before_a_stop_string():
    options = ["the ", "--length", "60", "--temperature", "2", "--seed", "1"]
    whole = generate(*options).out[len("the ") : -1]
    stops = [whole[30:32], whole[50:53]]

    said = generate(*options, "--stop", stops[0], "--stop", stops[1])

    first = min(whole.index(stop) for stop in stops)
    assert said.out == f"the {whole[:first]}\n"


def test_words_are_joined_by_spaces():
    said = works("generate", "word/model.keras", "the lazy dog", "--length", "4")
    assert len(said.out.split(" ")) == 3 + 4


@pytest.mark.parametrize("command", ["generate", "evaluate", "inspect"])
@pytest.mark.parametrize(
    ("name", "code", "found"),
    [
        ("none.keras", 5, "none.keras: the model file must exist, found none"),
        ("fox.txt", 4, "fox.txt: must be a whole .keras file, found an incomplete or corrupt"),
        ("run", 4, "run: must be a .keras file, found a folder"),
        ("https://example.org/m.keras", 4, "must be a local file, found a URL"),
        ("m.h5", 4, "m.h5: must be a .keras file, found '.h5'"),
    ],
)
def test_what_is_no_model_is_refused(command, name, code, found):
    if name == "m.h5":
        Path(name).touch()
    assert found in refused(code, command, name)
