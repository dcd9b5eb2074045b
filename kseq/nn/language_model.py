"""LanguageModel: embedding or one-hot -> recurrent stack -> logits (B, T, V)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict
from typing import Any

import keras

from kseq.backend import require_engine
from kseq.checks import non_negative_int, one_of, positive_int
from kseq.data.vocab import Vocab
from kseq.errors import DataError, UsageError
from kseq.nn import speaking
from kseq.nn.archiving import SavedWhole
from kseq.nn.carrying import CarriesState
from kseq.nn.decoding import decoding_weights
from kseq.nn.initializers import PRESETS
from kseq.nn.metrics import Perplexity
from kseq.nn.optimizers import ReportSkipped
from kseq.nn.programs import TokenProgram
from kseq.nn.provenance import NoteResults, Provenance
from kseq.nn.recurrent_stack import CELLS
from kseq.nn.regularization import Regularization
from kseq.nn.stack import Stack
from kseq.nn.token_feeding import ChecksIds
from kseq.nn.weighing import ChecksWeights


@keras.saving.register_keras_serializable(package="kseq")
class LanguageModel(ChecksIds, ChecksWeights, CarriesState, SavedWhole, keras.Model):
    """A recurrent network that gives, at every step, logits over the next token.

    Args:
        vocab: the `Vocab` of the training text.
        cell: "simple_rnn", "gru" or "lstm"; for teaching also "scratch_simple_rnn",
            "scratch_gru", "scratch_lstm" and "peephole_lstm".
        units: H, the width of each recurrent layer.
        num_layers: recurrent layers; the output of each is the input of the next.
        embedding_dim: width of a learned embedding; None feeds one-hot vectors, as d2l does.
        tie_weights: read the logits out through the transposed embedding (Press and Wolf,
            arXiv:1608.05859); then embedding_dim is `units`.
        dropout: rate between recurrent layers, not after the last (as PyTorch's `nn.LSTM`).
        dropout_kind: "standard", or "locked" (variational): one mask for all steps of a sequence.
        input_dropout, output_dropout: rates before the first layer and after the last.
        embedding_dropout: rate at which whole types of token are dropped from the input.
        weight_drop: rate at which entries of the recurrent kernels are dropped (DropConnect).
        activation_l2, temporal_l2: weights of penalties on the last outputs and on how they
            change from step to step, part of the training `loss`, of no perplexity and no
            held-out figure.  All in `kseq.nn.regularization` with their papers.
        init: initial weights as "keras", "torch" or "d2l" would draw them.
        seed: draws the initial weights, the same on every engine, and the dropout.
        bidirectional: refused, with the reason.

    Calling `model(ids, initial_state=None, return_state=False)` with ids (B, T) gives logits
    (B, T, V) in float32, and with `return_state` also the state: for each layer a list of
    (B, H) tensors, [h] or for LSTMs [h, c].  The state starts at zero unless it is handed in.

    `fit` and `evaluate` carry the state by themselves from batch to batch of
    `SequentialBatches`, starting each epoch at zero and keeping validation apart.

    Raises:
        UsageError: a size that is not a positive whole number, an unknown cell or preset, tied
            weights of different widths, or a bidirectional model.

    Source: Mikolov et al. (2010); Dive into Deep Learning 8.5, 8.6, 9.1-9.3.

    Example:
        >>> import numpy as np
        >>> model = LanguageModel(Vocab(list("hello")), cell="gru", units=8, num_layers=1)
        >>> logits, state = model(np.zeros((2, 3), "int32"), return_state=True)
        >>> tuple(logits.shape), tuple(state[0][0].shape)
        ((2, 3, 5), (2, 8))
    """

    def __init__(
        self,
        vocab: Vocab,
        cell: str = "lstm",
        units: int = 256,
        num_layers: int = 2,
        embedding_dim: int | None = None,
        tie_weights: bool = False,
        dropout: float = 0.0,
        init: str = "keras",
        seed: int = 0,
        bidirectional: bool = False,
        provenance: dict[str, Any] | None = None,
        dropout_kind: str = "standard",
        input_dropout: float = 0.0,
        output_dropout: float = 0.0,
        embedding_dropout: float = 0.0,
        weight_drop: float = 0.0,
        activation_l2: float = 0.0,
        temporal_l2: float = 0.0,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        _refuse_bidirectional(bidirectional)
        _refuse_empty(vocab)
        self.vocab = vocab
        self.cell = one_of("cell", cell, CELLS)
        self.units = positive_int("units", units, most=2**16)
        self.num_layers = positive_int("num_layers", num_layers, most=2**10)
        self.tie_weights = bool(tie_weights)
        self.embedding_dim = self._checked_embedding_dim(embedding_dim)
        self.regularization = Regularization.checked(
            dropout=dropout,
            dropout_kind=dropout_kind,
            input_dropout=input_dropout,
            output_dropout=output_dropout,
            embedding_dropout=embedding_dropout,
            weight_drop=weight_drop,
            activation_l2=activation_l2,
            temporal_l2=temporal_l2,
        )
        self.dropout = self.regularization.dropout
        self.init = one_of("init", init, PRESETS)
        self.seed = non_negative_int("seed", seed)
        self.provenance = Provenance(provenance)
        self.start_carrying()
        self._decoder: Any = None
        self.stack = Stack(
            len(vocab),
            self.cell,
            self.units,
            self.num_layers,
            self.embedding_dim,
            self.tie_weights,
            self.regularization,
            self.init,
            self.seed,
            dtype=self.dtype_policy,
        )
        self.build((None, None))

    def build(self, input_shape: Any) -> None:
        self.stack.build(input_shape)

    def call(
        self,
        ids: Any,
        initial_state: Any = None,
        return_state: bool = False,
        training: bool = False,
    ) -> Any:
        # Whoever hands a state in or wants one back carries it.
        if training:
            self.note_steps(ids)
        explicit = return_state or initial_state is not None
        carried = None if explicit else self._carry.current(training)
        state = carried.read() if carried else initial_state
        ids = carried.sized(ids) if carried else ids
        logits, state = self.stack(ids, initial_state=state, training=training)
        if carried:
            carried.write(state)
        return (logits, state) if return_state else logits

    def compile(
        self,
        optimizer: Any = None,
        loss: Any = None,
        metrics: Any = None,
        weighted_metrics: Any = None,
        **kwargs: Any,
    ) -> None:
        """As Keras's; without arguments a clipped Adam, cross-entropy in nats, and perplexity."""
        self.weighs_losses = kwargs.get("loss_weights") is not None
        if metrics is None and weighted_metrics is None:
            weighted_metrics = [Perplexity()]
        super().compile(
            optimizer=optimizer,
            loss=loss or keras.losses.SparseCategoricalCrossentropy(from_logits=True),
            metrics=metrics,
            weighted_metrics=weighted_metrics,
            **kwargs,
        )

    def program(self) -> TokenProgram | None:
        """Return what a planned step computes, or None where Keras's step must be taken."""
        return TokenProgram.of(self)

    def generate(
        self, prompt: str | Sequence[str], max_new_tokens: int = 50, **options: Any
    ) -> Any:
        """Return the prompt and its continuation: a string, or a list of them for many prompts.

        Args:
            prompt: a text, or several; an empty one starts as after a space or a new line.
            max_new_tokens: how many tokens to add at most; 0 gives the prompt back.
            **options: temperature, top_k, top_p and seed, see `kseq.generation.Sampling`; stop, a
                string or several, before the first of which the text ends; unknown, "error" or
                "unk", which reads unseen symbols as `<unk>`.

        Raises:
            DataError: the prompt holds a symbol the vocabulary has not; its place is named.
            UsageError: a length or an option that cannot be used.
        """
        return speaking.generate(self, prompt, max_new_tokens, **options)

    def stream(self, prompt: str, max_new_tokens: int = 50, **options: Any) -> Iterator[str]:
        """Yield the prompt, then the continuation piece by piece as it is drawn."""
        return speaking.stream(self, prompt, max_new_tokens, **options)

    @property
    def level(self) -> str:
        """What a token is: "char" or "word"."""
        return self.provenance.level or _level_of(self.vocab)

    def zero_state(self, batch_size: int) -> list[list[Any]]:
        """Return the state every text starts from: zeros, for each layer a list of (B, H)."""
        batch_size = positive_int("batch_size", batch_size)
        return self.stack.zero_state(batch_size)

    def decoder(self) -> Any:
        """Return the compiled `step(ids (B, T), state)` that generation runs on."""
        if self._decoder is None:
            self._decoder = require_engine().compile_step(self, self._decoding_weights)
        return self._decoder

    def _decoding_weights(self) -> Any:
        plain = type(self).call is LanguageModel.call
        return decoding_weights(self.stack) if plain else None

    def state_widths(self) -> list[list[int]]:
        """Return, for each recurrent layer, the width of each of its states."""
        return self.stack.state_widths()

    def before_fit(self, batches: Any, validation: Any) -> list[keras.callbacks.Callback]:
        """Check the ids, remember the text, and return the callbacks every `fit` has."""
        for given in (batches, validation):
            self.before_evaluate(given)
        self.provenance.note_corpus(getattr(batches, "corpus", None))
        return [NoteResults(self.provenance), ReportSkipped()]

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "vocab": self.vocab.to_dict(),
            "cell": self.cell,
            "units": self.units,
            "num_layers": self.num_layers,
            "embedding_dim": self.embedding_dim,
            "tie_weights": self.tie_weights,
            **asdict(self.regularization),
            "init": self.init,
            "seed": self.seed,
            "provenance": self.provenance.to_dict(),
        }

    @classmethod
    def from_config(cls, config: dict[str, Any], **_: Any) -> LanguageModel:
        return cls(**{**config, "vocab": Vocab.from_dict(config["vocab"])})

    def before_evaluate(self, batches: Any) -> None:
        """Check once that every id is in the vocabulary; beyond it JAX gives NaN silently."""
        ids = getattr(batches, "ids", None)
        if ids is not None and int(ids.max()) >= len(self.vocab):
            raise DataError(
                f"batches: token ids must be below the vocabulary's {len(self.vocab)}, found "
                f"{int(ids.max())}; build the batches and the model with the same vocabulary"
            )

    def _checked_embedding_dim(self, embedding_dim: int | None) -> int | None:
        if embedding_dim is None:
            return self.units if self.tie_weights else None
        embedding_dim = positive_int("embedding_dim", embedding_dim, most=2**16)
        if self.tie_weights and embedding_dim != self.units:
            raise UsageError(
                f"tie_weights: embedding_dim must equal units, found {embedding_dim} and "
                f"{self.units}; leave embedding_dim out or make them equal"
            )
        return embedding_dim


def _refuse_bidirectional(bidirectional: bool) -> None:
    if bidirectional:
        raise UsageError(
            "bidirectional: a language model must not see the token it is to predict, found "
            "bidirectional=True, whose backward half reads it; leave the option out"
        )


def _refuse_empty(vocab: Vocab) -> None:
    if len(vocab) < 2:
        raise UsageError("vocab: must hold a token besides <unk>, found none; make it from a text")


def _level_of(vocab: Vocab) -> str:
    return "char" if all(len(token) == 1 for token in vocab.idx_to_token[1:]) else "word"
