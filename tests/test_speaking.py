"""Text in, text out: a scripted model where the text matters, a real one where the model does."""

from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from language_cases import LETTERS, VOCAB, V, tiny, to_numpy

from kseq import DataError, UsageError, Vocab
from kseq.generation import Sampling, sample
from kseq.nn import speaking


def scripted(level, *scripts):
    """Give a model that writes out a script: the one whose first token ends the prompt.

    scripts: lists of tokens, each beginning with a token of its own; a text past its end repeats
    the last token.
    """
    vocab = Vocab([token for script in scripts for token in script])
    table = [np.eye(len(vocab))[vocab.encode(script)] for script in scripts]
    starts = [vocab[script[0]] for script in scripts]

    def step(ids, state):
        ids = np.asarray(ids)
        which, place = np.zeros((2, len(ids), 1), int) if state is None else state[0]
        for column in ids.T:
            begins = np.array([token in starts for token in column])[:, None]
            chosen = np.array([starts.index(t) if t in starts else 0 for t in column])[:, None]
            which, place = np.where(begins, chosen, which), np.where(begins, 1, place + 1)
        last = [len(scripts[number]) - 1 for number in which[:, 0]]
        rows = zip(which[:, 0], np.minimum(place[:, 0], last), strict=True)
        return np.stack([table[w][p] for w, p in rows])[:, None], [[which, place]]

    return SimpleNamespace(vocab=vocab, level=level, decoder=lambda: step)


def written(model, prompt, count=50, **options):
    """Give what `generate` returns, once `stream` has given the same in pieces."""
    text = speaking.generate(model, prompt, count, **options)
    pieces = list(speaking.stream(model, prompt, count, **options))
    assert pieces[0] == prompt
    assert "".join(pieces) == text
    assert all(pieces[1:])
    return text


CAT = [*">the cat sat"]
WORDS = ["so", "the", "cat", "sat", "on", "the_mat"]


# What comes after the prompt.


def test_a_text_is_its_prompt_and_what_follows():
    assert written(scripted("char", CAT), ">", 7) == ">the cat"
    assert written(scripted("char", CAT), "t>", 0) == "t>"


def test_words_are_joined_by_one_space():
    model = scripted("word", WORDS)
    assert written(model, "the so", 3) == "the so the cat sat"
    assert written(model, "the so ", 2) == "the so the cat"
    assert written(model, "the\n so\n", 1) == "the\n so\nthe"


def test_pieces_come_token_by_token():
    model = scripted("word", WORDS)
    assert list(speaking.stream(model, "so", 3)) == ["so", " the", " cat", " sat"]


def test_an_empty_prompt_starts_between_texts():
    lines = ["\n", *"next line"]
    assert written(scripted("char", lines, CAT), "", 4) == "next"
    assert written(scripted("char", [" ", *"word"]), "", 4) == "word"
    # Neither a new line nor a space is known: the most frequent token, here "e", goes before.
    assert written(scripted("char", [*"eabee"]), "", 2) == "ab"
    assert written(scripted("word", ["so", "it", "is"]), "", 2) == "it is"


def test_many_prompts_at_once():
    model = scripted("char", CAT, [*"<a dog"])
    texts = speaking.generate(model, ["the >", "<", "a dog<"], 6)
    assert texts == ["the >the ca", "<a dogg", "a dog<a dogg"]
    assert speaking.generate(model, ("<",), 2) == ["<a "]
    assert speaking.generate(model, [], 6) == []


# Stop strings.


@pytest.mark.parametrize(
    ("stop", "text"),
    [
        ("sat", ">the cat "),
        ("cat s", ">the "),
        ("t", ">"),
        (["sat", "cat"], ">the "),
        (["at s", "cat sat"], ">the c"),
        (["cats", "a"], ">the c"),
        ("dog", ">the cat satt"),
        (">t", ">the cat satt"),
        ("", ">the cat satt"),
        (["", "he"], ">t"),
    ],
)
def test_a_text_ends_before_its_stop_string(stop, text):
    assert written(scripted("char", CAT), ">", 12, stop=stop) == text


def test_a_stop_string_may_spread_over_words_and_end_inside_one():
    model = scripted("word", WORDS)
    assert written(model, "so", 5, stop="t on") == "so the cat sa"
    assert written(model, "so", 5, stop="_m") == "so the cat sat on the"
    assert written(model, "so", 5, stop=" ") == "so"


def test_each_text_stops_for_itself_and_all_stop_the_work():
    model, calls = scripted("char", CAT, [*"<a dog"]), []
    step = model.decoder()
    model.decoder = lambda: lambda ids, state: calls.append(len(ids)) or step(ids, state)
    assert speaking.generate(model, [">", "<"], 1000, stop=["g", "cat"]) == [">the ", "<a do"]
    # One for both prompts; then 7 letters until "cat" is whole.
    assert calls == [2] + [2] * 6


def ended(text, stops):
    """Cut a text read letter by letter before the first stop string to be complete."""
    for length in range(len(text) + 1):
        found = [text[:length].find(stop) for stop in stops if stop in text[:length]]
        if found:
            return text[: min(found)]
    return text


@given(
    st.text("ab", min_size=1, max_size=20),
    st.lists(st.text("ab", min_size=1, max_size=5), min_size=1, max_size=3),
)
def test_no_piece_ever_shows_part_of_a_stop_string(text, stops):
    model = scripted("char", [">", *text])
    assert written(model, ">", len(text), stop=stops) == ">" + ended(text, stops)
    shown = ""
    for piece in list(speaking.stream(model, ">", len(text), stop=stops))[1:]:
        shown += piece
        assert ended(text, stops).startswith(shown)


# Prompts that cannot be read.


@pytest.mark.parametrize(
    ("prompt", "words"),
    [
        ("the dog>", r"found 'd' at position 5; leave it out, or pass unknown='unk'"),
        ("The cat>", r"found 'T' at position 1; write 't', or pass unknown='unk'"),
        ("é>", r"found 'é' at position 1; "),
    ],
)
def test_an_unseen_character_is_named_with_its_place(prompt, words):
    message = "^prompt: every symbol must be in the model's vocabulary, " + words
    for call in (speaking.generate, speaking.stream):
        with pytest.raises(DataError, match=message):
            call(scripted("char", CAT), prompt)
    assert written(scripted("char", CAT), prompt, 3, unknown="unk") == prompt + "the"


def test_an_unseen_word_is_named_with_its_place():
    with pytest.raises(DataError, match="found 'dog' at position 2; leave it out"):
        speaking.generate(scripted("word", WORDS), "the dog so")
    assert written(scripted("word", WORDS), "dog so", 1, unknown="unk") == "dog so the"


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"max_new_tokens": -1}, r"^max_new_tokens: must be a whole number, at least 0, found -1"),
        ({"max_new_tokens": 2.5}, r"^max_new_tokens: must be a whole number, at least 0"),
        ({"unknown": "skip"}, r"^unknown: must be 'error' or 'unk', found 'skip'"),
        ({"temperature": -1}, r"^temperature: must be a finite number, at least 0, found -1"),
        ({"top_k": 0}, r"^top_k: must be a whole number, at least 1"),
    ],
)
@pytest.mark.parametrize("call", [speaking.generate, speaking.stream])
def test_options_are_refused_before_a_word_is_said(call, options, words):
    with pytest.raises(UsageError, match=words):
        call(scripted("char", CAT), ">", **options)


# A real model.


@pytest.fixture(scope="module")
def model():
    """A model with weights large enough for it to have opinions."""
    model, rng = tiny("gru", num_layers=2), np.random.default_rng(7)
    weights = [rng.normal(size=w.shape) * (w.ndim > 1) for w in model.get_weights()]
    # As in a trained model, `<unk>` does not come.
    weights[-1][0] = -100
    model.set_weights(weights)
    return model


# Written down once; every engine gives the same.
GREEDY = "abcccccccbcbcbcbcbcbcbcbcbcbcbcbcbcbcbbbcbc"
SAMPLED = "abcbbdcbccbcbcccccfbcdbafcbecccbcbbcfbcbcdbeccebdfaebcbcbfbcbcb"


def test_the_same_text_on_every_engine(model):
    assert model.generate("abc", 40) == GREEDY
    found = model.generate("abc", 60, temperature=1.0, top_k=5, top_p=0.95, seed=3)
    assert found == SAMPLED
    assert set(SAMPLED) == set(LETTERS)


@pytest.mark.parametrize(
    "options", [{}, {"temperature": 1.0, "seed": 4}], ids=["greedy", "sampled"]
)
def test_a_model_writes_what_reading_the_whole_text_each_time_gives(model, options):
    prompt, count = "ab" * 40 + "c", 20
    sampling, step = Sampling(**options), model.decoder()
    rng, text = sampling.generators(1)[0], VOCAB.encode(prompt).tolist()
    for _ in range(count):
        # Logits do not see what follows, so the zeros behind the text change nothing.
        padded = np.zeros((1, len(prompt) + count), "int32")
        padded[0, : len(text)] = text
        text.append(sample(to_numpy(step(padded, None)[0])[0, len(text) - 1], sampling, rng))
    expected = "".join(VOCAB.decode(text))
    assert model.generate(prompt, count, **options) == expected
    assert "".join(model.stream(prompt, count, **options)) == expected


def test_prompts_of_a_model_at_once_equal_each_alone(model):
    prompts = ["a", "fed" * 30, "bcb"]
    alone = [model.generate(prompt, 20) for prompt in prompts]
    assert model.generate(prompts, 20) == alone


def test_generation_leaves_the_model_as_it_was(model):
    before = [w.copy() for w in model.get_weights()]
    first = model.generate("fade", 20, temperature=1.0, seed=1)
    assert model.generate("fade", 20, temperature=1.0, seed=1) == first
    assert all((a == b).all() for a, b in zip(before, model.get_weights(), strict=True))


def test_generation_follows_the_weights():
    model = tiny()
    model.generate("a", 3)
    weights = [np.zeros_like(w) for w in model.get_weights()]
    weights[-1][4] = 1.0
    model.set_weights(weights)
    assert model.generate("a", 3) == "a" + VOCAB.to_tokens(4) * 3
    assert len(VOCAB) == V
