"""The text group of bad inputs: what `kseq train` and `kseq evaluate` say of a text they get."""

import gzip
import json
from pathlib import Path

import pytest
from command_line import FOX, QUICK, TINY, kseq, refused, works

# No engine has a part in it.
pytestmark = pytest.mark.engine("torch")

BATCH = 4 * 10  # tokens of one batch of QUICK


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


def text(content, name="a.txt"):
    path = Path(name)
    path.write_bytes(content if isinstance(content, bytes) else content.encode("utf-8"))
    return name


def train(content, *options, code=3):
    return refused(code, "train", text(content), *QUICK, *options)


def trained(content, *options):
    return works("train", text(content), *QUICK, "--json", "--valid", "0", *options)


def test_an_empty_file_is_refused():
    assert "a.txt: must be text, found an empty file; check" in train("")


def test_white_space_has_no_words():
    assert "must have tokens at level 'word'" in train(" \n\t ", "--level", "word")


@pytest.mark.filterwarnings("default:.*one distinct token")
def test_a_text_of_one_token_says_how_many_are_needed():
    line = train("x", "--valid", "0")
    assert f"a.txt, training part: must have at least {BATCH + 1} tokens" in line
    assert "found 1;" in line


@pytest.mark.filterwarnings("default:.*one distinct token")
def test_the_default_split_of_one_token_says_so_too():
    assert f"a.txt, training part: must have at least {BATCH + 1} tokens" in train("x")


def test_one_token_too_few_is_refused_and_exactly_enough_will_do():
    line = train(("ab" * BATCH)[:BATCH], "--valid", "0")
    assert f"must have at least {BATCH + 1} tokens" in line
    assert f"found {BATCH}; use a smaller batch_size or num_steps, or a longer text" in line

    assert trained(("ab" * BATCH)[: BATCH + 1]).report["training"]["tokens"] == BATCH + 1


@pytest.mark.parametrize("valid", ["0.01", "1"])
def test_a_validation_part_too_short_is_named(valid):
    line = train("ab" * 50, "--valid", valid)
    assert "a.txt, validation part: must have at least 2 tokens" in line
    assert "found 1; raise --valid" in line


def test_held_out_tokens_beyond_the_text_are_refused():
    line = train("ab" * 50, "--max-tokens", "90", "--valid", "20")
    assert "must have the 90 tokens to train on and 20 to hold out, found 100" in line


def test_latin_1_is_named_by_its_first_foreign_byte():
    line = train(f"{FOX}caf\xe9 ".encode("latin-1") * 3)
    assert f"found byte 0xe9 at offset {len(FOX) + 3};" in line
    assert "--encoding, such as latin-1" in line

    content = f"{FOX}caf\xe9 ".encode("latin-1") * 3
    assert trained(content, "--encoding", "latin-1").report["vocab_size"] > 25


@pytest.mark.parametrize(
    ("content", "name"),
    [
        (gzip.compress(FOX.encode(), mtime=0), "gzip"),
        (b"\x89PNG\r\n\x1a\n" + bytes(40), "PNG"),
        (b"\x7fELF\x02\x01" + bytes(40), "ELF"),
    ],
)
def test_a_binary_file_is_called_what_it_looks_like(content, name):
    line = train(content)
    assert "found what looks like a" in line
    assert name in line


def test_a_byte_order_mark_is_no_part_of_the_text():
    plain, marked = trained(FOX * 2), trained("\ufeff" + FOX * 2, "--overwrite")

    assert plain.report["vocab_size"] == marked.report["vocab_size"]
    assert plain.report["training"] == marked.report["training"]


@pytest.mark.parametrize("encoding", ["utf-16-le", "utf-16-be", "utf-16"])
def test_utf_16_is_refused_with_a_hint(encoding):
    line = train((FOX * 2).encode(encoding))
    assert "found what looks like UTF-16" in line
    assert "read it with --encoding utf-16" in line


@pytest.mark.parametrize("end", ["\r\n", "\r"])
def test_line_ends_make_no_difference(end):
    lines = FOX.replace(" ", "\n") * 2
    plain = trained(lines)
    other = trained(lines.replace("\n", end), "--overwrite")

    assert plain.report["training"] == other.report["training"]


def test_nul_characters_are_refused_where_they_are():
    assert "found a NUL character at offset 100;" in train("x" * 100 + "\0" + FOX)


def test_ten_gigabytes_are_refused_at_once():
    with open("huge.txt", "wb") as stream:
        stream.truncate(10 * 2**30)  # a sparse file: it takes no room

    line = refused(3, "train", "huge.txt", *QUICK)

    assert "found 10,737,418,240 or more; keep its ids on the disk with --cache-dir" in line


def test_a_folder_is_refused():
    Path("texts").mkdir()
    assert "texts: must be text, found a folder; name the files" in refused(3, "train", "texts")


def test_a_missing_file_names_the_nearest_text():
    assert "found it missing; did you mean 'story'?" in refused(5, "train", "storry")
    assert "a/b.txt: must be a text file, found it missing" in refused(5, "train", "a/b.txt")


def test_a_file_that_cannot_be_read_is_refused():
    # Even for root, who may read every file: the memory at address 0 of this very process.
    assert "/proc/self/mem: must be a readable file" in refused(5, "train", "/proc/self/mem")


def test_standard_input_is_a_text():
    said = works("train", "-", *QUICK, "--json", stdin=(FOX * 3).encode())
    assert said.report["corpus"] == "standard input"
    assert said.report["files"]["model"] == "runs/stdin-lstm/model.keras"


def test_an_empty_standard_input_is_refused():
    assert "standard input: must be text, found an empty file" in refused(3, "train", "-")


def test_a_vocabulary_over_its_bound_counts_the_unknown():
    said = works("train", text(FOX * 3), *TINY, "--epochs", "1", "--max-vocab", "9", "--json")

    report = said.report
    assert report["vocab_size"] == 9
    unknown = report["training"]["unknown"]
    assert 0 < unknown < report["training"]["tokens"]
    share = unknown / report["training"]["tokens"]
    assert report["training"]["unknown_share"] == share
    assert f"tokens by char, {unknown} of them <unk> ({100 * share:.1f} %)" in said.err
    assert report["held_out"]["unknown"] > 0


def test_a_vocabulary_of_unknown_symbols_alone_is_refused():
    line = train(FOX * 2, "--min-freq", "1000")
    assert "the vocabulary must have a symbol besides <unk>, found none; raise" in line

    assert trained(FOX * 2, "--max-vocab", "2").report["vocab_size"] == 2


@pytest.mark.filterwarnings("default:.*one distinct token")
def test_one_distinct_symbol_is_a_warning():
    said = trained("a" * 100)

    assert said.notes == [
        "kseq: note: a.txt: has one distinct token, 'a'; there is nothing to learn from it"
    ]
    assert said.report["training"]["floors"] == {"uniform": 2.0, "unigram": 1.0, "bigram": 1.0}


def test_combining_marks_and_emoji_make_the_round_trip():
    content = "noe\u0308l 👩\u200d🚀 ça va 中文 " * 8
    trained(content)
    prompt = content[:12]

    said = works("generate", "runs/a-lstm/model.keras", prompt, "--length", "0")

    assert said.out == f"{prompt}\n"


def test_a_text_without_spaces_trains_and_speaks():
    samples = trained("快速的棕色狐狸" * 10).report["samples"]
    assert samples[0].startswith("快速的棕色狐狸")


def test_a_token_spelled_unk_is_refused():
    line = train(f"{FOX}<unk> {FOX}", "--level", "word")
    assert "must not have the word <unk>" in line


def test_a_resumed_run_notices_another_text():
    trained(FOX * 2)

    line = refused(3, "train", text(FOX * 3), *QUICK, "--valid", "0", "--epochs", "2", "--resume")

    assert "runs/a-lstm: a resumed run must keep its text, found another (sha256 " in line


def test_several_texts_are_one_after_the_other():
    text(FOX * 2, "a.txt")
    text(FOX.upper() * 2, "b.txt")

    said = works("train", "a.txt", "b.txt", *QUICK, "--json", "--valid", "0")

    assert said.report["corpus"] == "a.txt+b.txt"
    # A line end is put between the two.
    assert said.report["training"]["tokens"] == 4 * len(FOX) + 1
    assert said.report["files"]["model"] == "runs/a+b-lstm/model.keras"


def test_texts_that_are_cleaned_differently_ask_for_one_way():
    text(FOX)
    assert "--cleaning" in refused(2, "train", "a.txt", "story", *QUICK)


def test_an_unknown_encoding_names_the_nearest():
    assert "did you mean 'utf-8'?" in train(FOX, "--encoding", "utf8mb4", code=2)


@pytest.fixture
def model():
    trained(FOX * 3, "--valid", "0.2", "--run-dir", "run")
    return "run/model.keras"


@pytest.mark.filterwarnings("default:.*one distinct token")
@pytest.mark.parametrize(
    ("content", "found"),
    [
        (b"", "found an empty file"),
        (b"x", "must have at least 2 tokens"),
        (b"caf\xe9", "found byte 0xe9 at offset 3"),
    ],
)
def test_evaluate_refuses_the_same_texts(model, content, found):
    assert found in refused(3, "evaluate", model, text(content, "b.txt"))


def test_evaluate_wants_the_text_the_model_was_trained_on(model):
    text(FOX * 4)
    assert "must be the text the model was trained on" in refused(3, "evaluate", model)

    Path("a.txt").unlink()
    line = refused(5, "evaluate", model)
    assert "a.txt: the text the model was trained on must be in this folder" in line
    assert "name a text after the model" in line


def test_evaluate_wants_something_the_model_has_not_seen():
    trained(FOX * 3, "--run-dir", "all")
    assert "a part the model has not seen" in refused(3, "evaluate", "all/model.keras")


def test_evaluate_counts_what_the_vocabulary_lacks(model):
    said = works("evaluate", model, text(FOX.upper(), "b.txt"), "--json")

    letters = sum(letter.isalpha() for letter in FOX)
    assert said.report["unknown"] == letters
    words = kseq("evaluate", model, "b.txt").out
    assert f"b.txt: {len(FOX) - 1} tokens, {letters} of them <unk>" in words
    assert json.loads(said.out)["floors_from"] == "the text itself"
