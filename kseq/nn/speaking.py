"""Text in, text out: prompts encoded, continuations decoded, stop strings honoured."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from kseq.checks import non_negative_int, one_of, shown
from kseq.data.vocab import Vocab
from kseq.errors import DataError
from kseq.generation import Sampling, generate_ids


def generate(
    model: Any,
    prompt: str | Sequence[str],
    max_new_tokens: int = 50,
    *,
    stop: str | Sequence[str] | None = None,
    unknown: str = "error",
    **sampling: Any,
) -> str | list[str]:
    """Return each prompt with its continuation; see `LanguageModel.generate`."""
    prompts = [prompt] if isinstance(prompt, str) else list(prompt)
    writers = [_Writer(model, text, _stops(stop), unknown) for text in prompts]
    for _ in _written(model, writers, max_new_tokens, Sampling(**sampling)):
        pass
    texts = [writer.text() for writer in writers]
    return texts[0] if isinstance(prompt, str) else texts


def stream(
    model: Any,
    prompt: str,
    max_new_tokens: int = 50,
    *,
    stop: str | Sequence[str] | None = None,
    unknown: str = "error",
    **sampling: Any,
) -> Iterator[str]:
    """Yield the prompt, then pieces of its continuation; joined they are what `generate` gives."""
    writer = _Writer(model, prompt, _stops(stop), unknown)
    written = _written(model, [writer], max_new_tokens, Sampling(**sampling))
    return _pieces(writer, written)


class _Writer:
    """One text in the making."""

    def __init__(self, model: Any, prompt: str, stops: tuple[str, ...], unknown: str) -> None:
        self.prompt, self.stops = prompt, stops
        self.vocab: Vocab = model.vocab
        self.joint = " " if model.level == "word" else ""
        self.ids = encode_prompt(model.vocab, model.level, prompt, unknown)
        self.added = ""
        self.stopped_at: int | None = None

    def add(self, token_id: int) -> None:
        if self.stopped_at is None:
            before = len(self.added)
            self.added += self._joint() + self.vocab.to_tokens(token_id)
            # Whatever ended earlier has been found already.
            starts = [(stop, max(0, before - len(stop) + 1)) for stop in self.stops]
            found = [at for at in (self.added.find(*start) for start in starts) if at >= 0]
            self.stopped_at = min(found, default=None)

    def _joint(self) -> str:
        end = (self.added or self.prompt)[-1:]
        return "" if not end or end.isspace() else self.joint

    def text(self) -> str:
        return self.prompt + self.added[: self.stopped_at]

    def sure(self) -> int:
        """How many added characters can no longer become part of a stop string."""
        if self.stopped_at is not None:
            return self.stopped_at
        held = [_overlap(self.added, stop) for stop in self.stops]
        return len(self.added) - max(held, default=0)


def encode_prompt(vocab: Vocab, level: str, prompt: str, unknown: str = "error") -> np.ndarray:
    """Return the ids (P,) of a prompt, P at least 1.

    An empty prompt is read as the symbol that stands between texts: a new line or a space if the
    vocabulary has one, else the most frequent token.

    Raises:
        DataError: a symbol that the vocabulary has not, unless `unknown` is "unk".
    """
    one_of("unknown", unknown, ("error", "unk"))
    tokens = prompt.split() if level == "word" else list(prompt)
    if not tokens:
        tokens = [_between_texts(vocab)]
    if unknown == "error":
        _check_known(vocab, tokens)
    return np.asarray(vocab.encode(tokens), "int32")


def _written(
    model: Any, writers: list[_Writer], max_new_tokens: int, sampling: Sampling
) -> Iterator[None]:
    # Checked here and not in the iterator, which runs no line before it is asked for a token.
    return _write(model, writers, non_negative_int("max_new_tokens", max_new_tokens), sampling)


def _write(
    model: Any, writers: list[_Writer], max_new_tokens: int, sampling: Sampling
) -> Iterator[None]:
    prompts = [writer.ids for writer in writers]
    if not prompts:
        return
    for ids in generate_ids(model.decoder(), prompts, max_new_tokens, sampling):
        for writer, token_id in zip(writers, ids, strict=True):
            writer.add(int(token_id))
        yield
        if all(writer.stopped_at is not None for writer in writers):
            return


def _pieces(writer: _Writer, written: Iterator[None]) -> Iterator[str]:
    yield writer.prompt
    shown_to = 0
    for _ in written:
        sure = writer.sure()
        if sure > shown_to:
            yield writer.added[shown_to:sure]
            shown_to = sure
    rest = writer.added[: writer.stopped_at][shown_to:]
    if rest:
        yield rest


def _stops(stop: str | Sequence[str] | None) -> tuple[str, ...]:
    stops = (stop,) if isinstance(stop, str) else tuple(stop or ())
    return tuple(text for text in stops if text)


def _overlap(text: str, stop: str) -> int:
    """Length of the longest end of `text` that begins `stop`."""
    lengths = range(min(len(stop) - 1, len(text)), 0, -1)
    return next((n for n in lengths if text.endswith(stop[:n])), 0)


def _between_texts(vocab: Vocab) -> str:
    for token in ("\n", " "):
        if token in vocab:
            return token
    return vocab.idx_to_token[min(1, len(vocab) - 1)]


def _check_known(vocab: Vocab, tokens: list[str]) -> None:
    for position, token in enumerate(tokens, start=1):
        if token not in vocab:
            raise DataError(
                f"prompt: every symbol must be in the model's vocabulary, found {shown(token)} at "
                f"position {position}; {_remedy(vocab, token)}"
            )


def _remedy(vocab: Vocab, token: str) -> str:
    if token.lower() in vocab:
        return f"write {shown(token.lower())}, or pass unknown='unk' (--unknown unk)"
    return "leave it out, or pass unknown='unk' (--unknown unk) to read it as <unk>"
