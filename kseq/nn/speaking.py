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
    """One text in the making; a token costs the same however long the text is."""

    def __init__(self, model: Any, prompt: str, stops: tuple[str, ...], unknown: str) -> None:
        self.prompt, self.stops = prompt, stops
        self.tokens: list[str] = model.vocab.idx_to_token
        self.joint = " " if model.level == "word" else ""
        self.ids = encode_prompt(model.vocab, model.level, prompt, unknown)
        self.pieces: list[str] = []
        self.stopped_at: int | None = None
        self._end = prompt[-1:]
        # What stop strings are looked for in: the last characters, and how many were added.
        self._near, self._length = "", 0

    def add(self, token_id: int) -> None:
        if self.stopped_at is None:
            piece = self.tokens[token_id]
            if self.joint:
                piece = self._joined(piece)
            self.pieces.append(piece)
            if self.stops:
                self._look_for_stops(piece)

    def text(self) -> str:
        return self.prompt + "".join(self.pieces)[: self.stopped_at]

    def unsure(self) -> int:
        """How many of the last added characters are beyond a stop string or may belong to one."""
        if self.stopped_at is not None:
            return self._length - self.stopped_at
        return max((_overlap(self._near, stop) for stop in self.stops), default=0)

    def _joined(self, token: str) -> str:
        between = self.joint if self._end and not self._end.isspace() else ""
        self._end = token[-1:] or self._end
        return between + token

    def _look_for_stops(self, piece: str) -> None:
        # Whatever ended earlier has been found already.
        near, start = self._near + piece, self._length - len(self._near)
        found = [start + at for at in map(near.find, self.stops) if at >= 0]
        self.stopped_at = min(found, default=None)
        self._near = near[max(0, len(near) - max(map(len, self.stops)) + 1) :]
        self._length += len(piece)


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
        for writer, token_id in zip(writers, ids.tolist(), strict=True):
            writer.add(token_id)
        yield
        if writers[0].stops and all(writer.stopped_at is not None for writer in writers):
            return


def _pieces(writer: _Writer, written: Iterator[None]) -> Iterator[str]:
    yield writer.prompt
    held, taken = "", 0
    for _ in written:
        held += "".join(writer.pieces[taken:])
        taken = len(writer.pieces)
        sure = len(held) - writer.unsure()
        if sure > 0:
            yield held[:sure]
            held = held[sure:]
    if held and writer.stopped_at is None:
        yield held


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
