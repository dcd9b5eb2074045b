"""The texts of a command: what is trained on, what is held out, and what is continued."""

from __future__ import annotations

import argparse
from contextlib import suppress
from pathlib import Path
from typing import Any

from kseq.checks import shown_path
from kseq.cli.indexing import kept_ids
from kseq.data import windows
from kseq.data.corpora import Corpus, load_corpus
from kseq.data.documents import Range, are_within, cut_of, in_pairs
from kseq.data.downloads import NAMED_TEXTS, cache_folder, look_for
from kseq.data.reading import STANDARD_INPUT
from kseq.data.sources import CORPUS_NAMES
from kseq.errors import DataError, FileError, UsageError

# A prompt that nobody chose: three words if the text has spaces early, else a few characters.
_PROMPT_WORDS, _PROMPT_CHARACTERS, _LONGEST_PROMPT = 3, 20, 60


def training_texts(sources: list[str], options: argparse.Namespace) -> tuple[Corpus, Corpus | None]:
    """Return the text to train on and the one held out, each long enough.

    Raises:
        DataError: a part is too short; the message names it.
    """
    corpus = load_corpus(
        sources if len(sources) > 1 else sources[0],
        level=options.level,
        cleaning=options.cleaning,
        separator=options.separator,
        encoding=options.encoding,
        min_freq=options.min_freq,
        max_vocab=options.max_vocab,
        data_dir=options.data_dir,
        **kept_ids(options),
    )
    train_part, held_out = _divided(corpus, options)
    if options.mix is not None:
        train_part = train_part.mixed(options.mix)
    _require_batch(len(train_part), corpus.name, options)
    _require_symbols(train_part)
    return train_part, held_out


def _divided(corpus: Corpus, options: argparse.Namespace) -> tuple[Corpus, Corpus | None]:
    if options.max_tokens is not None or isinstance(options.valid, int):
        parts = corpus.divide(options.max_tokens, _held_out_tokens(options))
        if parts[1] is not None:
            _require_target(len(parts[1]), corpus.name)
        return parts
    if options.valid == 0:
        return corpus, None
    if len(corpus.documents) > 1:
        return corpus.split(1 - options.valid, each=True)
    # As `split` cuts, told in the words of the command line.
    cut = cut_of(len(corpus), 1 - options.valid)
    _require_batch(cut, corpus.name, options)
    _require_target(len(corpus) - cut, corpus.name)
    return corpus.split(1 - options.valid)


def _held_out_tokens(options: argparse.Namespace) -> int:
    if isinstance(options.valid, int):
        return options.valid
    return round(options.max_tokens * options.valid / (1 - options.valid))


def _require_batch(tokens: int, name: str, options: argparse.Namespace) -> None:
    sizes = (options.batch_size, options.num_steps)
    windows.num_batches(tokens, *sizes, name=f"{name}, training part")


def _require_symbols(corpus: Corpus) -> None:
    if len(corpus.vocab) < 2:
        raise DataError(
            f"{corpus.label}: the vocabulary must have a symbol besides <unk>, found none; "
            "raise --max-vocab or lower --min-freq"
        )


def _require_target(tokens: int, name: str) -> None:
    if tokens < 2:
        raise DataError(
            f"{name}, validation part: must have at least 2 tokens, one input and one target, "
            f"found {tokens}; raise --valid, use a longer text, or hold out nothing by --valid 0"
        )


def prompts(options: argparse.Namespace, train_part: Corpus) -> list[str]:
    """Return the prompts asked for, or the beginning of the text.

    Raises:
        DataError: a prompt has a symbol that the training text has not.
    """
    from kseq.nn.speaking import encode_prompt

    for prompt in options.prompt or ():
        try:
            encode_prompt(train_part.vocab, train_part.level, prompt)
        except DataError as error:
            found = str(error).rpartition("; ")[0].replace("the model's", "the training text's")
            raise DataError(f"{found}; choose another --prompt") from error
    return options.prompt or [_beginning(train_part)]


def _beginning(corpus: Corpus) -> str:
    known = corpus.ids[:_LONGEST_PROMPT]
    known = known[known != corpus.vocab.unk]
    if corpus.level == "word":
        return corpus.decode(known[:_PROMPT_WORDS])
    text = corpus.decode(known)
    words = text.split(" ")
    if len(words) <= _PROMPT_WORDS:
        return text[:_PROMPT_CHARACTERS]
    return " ".join(words[:_PROMPT_WORDS]) + " "


def evaluation_texts(model: Any, options: argparse.Namespace) -> tuple[Corpus, Corpus | None]:
    """Return the text to judge a model on, as the model reads it, and what it was trained on.

    Without a text named by the user it is what the model's own text held out; only then is the
    training text known.  Since a stranger may have written the file, the text it names must be
    here: a named one that need not be downloaded, or a file of the folder one is in.

    Raises:
        UsageError, FileError, DataError: no text is named, and the model's own is not to be had.
    """
    facts = model.provenance.corpus
    if facts is None and not options.corpus:
        raise UsageError(
            "corpus: must be named for a model that does not say what it was trained on, found "
            "none; name a text after the model"
        )
    facts = facts or {"level": model.level, "cleaning": None, "separator": None}
    if options.corpus:
        return _read(options.corpus, facts, model, options), None
    sources = _own_sources(facts["name"], options.data_dir)
    corpus = _read(sources, facts, model, options)
    _check_own(corpus, facts)
    return _own_parts(corpus, facts)


def _own_parts(corpus: Corpus, facts: dict[str, Any]) -> tuple[Corpus, Corpus]:
    """Return what was held out of the whole `corpus`, and what was trained on.

    Raises:
        DataError: the file of the model names places that the text does not have.
    """
    pieces = facts.get("pieces") or [facts["start"], facts["stop"]]
    held_out = facts.get("held_out") or [facts["stop"], len(corpus)]
    return (
        corpus.pieces(_ranges(held_out, corpus), "validation"),
        corpus.pieces(_ranges(pieces, corpus), "training"),
    )


def _ranges(places: Any, corpus: Corpus) -> list[Range]:
    whole = isinstance(places, list) and all(isinstance(place, int) for place in places)
    ranges = in_pairs(places) if whole and len(places) % 2 == 0 else []
    if are_within(ranges, len(corpus)):
        return ranges
    raise DataError(
        f"{corpus.name}: must have the parts that the model file names, found {len(corpus):,} "
        "tokens without them; name the text to evaluate on"
    )


def _read(
    sources: list[str], facts: dict[str, Any], model: Any, options: argparse.Namespace
) -> Corpus:
    corpus = load_corpus(
        sources if len(sources) > 1 else sources[0],
        level=facts["level"],
        cleaning=facts["cleaning"],
        separator=facts["separator"],
        encoding=options.encoding,
        data_dir=options.data_dir,
        **kept_ids(options),
    )
    return corpus.with_vocab(model.vocab)


def _own_sources(name: str, data_dir: str | None) -> list[str]:
    names = [name] if _is_beside(name) else name.split("+")
    for each in names:
        if each in CORPUS_NAMES:
            _require_copy(each, data_dir)
        elif not _is_beside(each):
            raise FileError(
                f"{shown_path(each)}: the text the model was trained on must be in this folder, "
                f"found {'it missing' if each == Path(each).name else 'a path'}; name a text after "
                "the model"
            )
    return names


def _require_copy(name: str, data_dir: str | None) -> None:
    """Refuse to download what only the file of a model asks for."""
    if name in NAMED_TEXTS and look_for(NAMED_TEXTS[name], data_dir) is None:
        raise FileError(
            f"{name}: the text the model was trained on must be here, found no copy; put it into "
            f"{shown_path(cache_folder())}, or name a text after the model"
        )


def _is_beside(name: str) -> bool:
    """Whether a file of that plain name is in this folder; nothing else of there is opened."""
    path = Path(name)
    with suppress(OSError):  # too long a name
        return name != STANDARD_INPUT and path.name == name and path.is_file()
    return False


def _check_own(corpus: Corpus, facts: dict[str, Any]) -> None:
    if corpus.sha256 != facts["sha256"]:
        raise DataError(
            f"{facts['name']}: must be the text the model was trained on, found another of that "
            "name; name the text to evaluate on"
        )
    if not facts.get("held_out") and facts["total"] - facts["stop"] < 2:
        raise DataError(
            f"{facts['name']}: must have a part the model has not seen, found all of it used in "
            "training; name another text"
        )
