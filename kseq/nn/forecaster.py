"""Forecaster: the points before -> the points that follow, by a perceptron or a recurrent stack."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
from keras import ops

from kseq.backend import require_engine
from kseq.checks import non_negative_int, one_of, positive_int, unit_interval
from kseq.data.intervals import Margins
from kseq.data.series import Scaling, as_series, scaling_in_windows, windows
from kseq.errors import UsageError
from kseq.nn.archiving import SavedWhole
from kseq.nn.calibration import GivesIntervals
from kseq.nn.carrying import CarriesState, as_list
from kseq.nn.feeding import check_batches, check_pairs, drawn_pairs, histories
from kseq.nn.initializers import PRESETS, Draw
from kseq.nn.networks import ACTIVATIONS, RecurrentNetwork, WindowNetwork
from kseq.nn.optimizers import ReportSkipped, clipped_optimizer
from kseq.nn.programs import SeriesProgram
from kseq.nn.provenance import NoteResults, Provenance
from kseq.nn.recurrent_stack import CELLS
from kseq.nn.rolling import roll
from kseq.nn.weighing import ChecksWeights

KINDS = ("mlp", *CELLS)
SCALINGS = ("none", "standard", "window")
LARGEST_HORIZON = 2**20


@keras.saving.register_keras_serializable(package="kseq")
class Forecaster(ChecksWeights, CarriesState, SavedWhole, GivesIntervals, keras.Model):
    """A network that reads the last points of a series and gives the next ones.

    Args:
        kind: "mlp", "simple_rnn", "gru" or "lstm" (and the teaching cells of `LanguageModel`).
        window: how many points a forecast reads; None, for recurrent kinds, reads the whole
            history, and then `every_step` holds.
        units: H, the width of each hidden layer.
        num_layers: hidden layers.
        outputs: steps ahead given at once.  With 1 a longer forecast feeds on itself (recursive);
            with as many as the horizon it does not (direct).
        every_step: learn what follows every step of a sequence, not only the last (sequence to
            sequence); a forecast then runs on with the state.
        activation: of the perceptron's hidden layers: "relu", "tanh" or "linear".
        use_bias: whether the dense layers add a constant.  Without one a series is forecast
            around zero: right for a series known to swing about it, and better than a constant
            learnt from less than a whole swing.
        scaling: "none"; "standard" subtracts the training part's mean and divides by its
            deviation; "window" subtracts each window's own mean, which suits a trend (Kim et al.
            2022).  Inputs, outputs and metrics are in the series' own unit all the same; the loss
            is in that of the scaled series.
        dropout: rate between recurrent layers.
        init: initial weights as "keras", "torch" or "d2l" would draw them; "keras" is Xavier.
        seed: draws the initial weights, the same on every engine, and the dropout.
        fitted, margins, provenance: what a file remembers; leave them out.

    Calling `model(x, initial_state=None, return_state=False)` with windows x (B, window) gives
    (B, outputs) in float32; with `every_step`, x (B, T) or (B, T, 1) gives (B, T, outputs).

    Raises:
        UsageError: a size that is not a positive whole number, an unknown kind or preset, or
            settings that do not go together.

    Source: Dive into Deep Learning 8.1, 8.6, 9.1-9.3.

    Example:
        >>> model = Forecaster("mlp", window=4, units=10)
        >>> model.count_params()
        61
        >>> model.forecast([0.0, 0.1, 0.2, 0.3], horizon=3).shape
        (3,)
    """

    def __init__(
        self,
        kind: str = "mlp",
        window: int | None = 4,
        units: int = 10,
        num_layers: int = 1,
        outputs: int = 1,
        every_step: bool = False,
        activation: str = "relu",
        use_bias: bool = True,
        scaling: str = "none",
        dropout: float = 0.0,
        init: str = "keras",
        seed: int = 0,
        fitted: dict[str, float] | None = None,
        margins: dict[str, Any] | None = None,
        provenance: dict[str, Any] | None = None,
        **kwargs: Any,
    ) -> None:
        _check_settings(kind, window, every_step, scaling, dropout)
        # In half precision the scaling still counts in float32, else a mean would eat the decimals.
        super().__init__(**{"name": kind, "autocast": False, **kwargs})
        self.kind = kind
        self.window = window if window is None else positive_int("window", window, most=2**20)
        self.units = positive_int("units", units, most=2**16)
        self.num_layers = positive_int("num_layers", num_layers, most=2**10)
        self.outputs = positive_int("outputs", outputs, most=2**16)
        self.every_step = bool(every_step) or window is None
        self.activation = one_of("activation", activation, ACTIVATIONS)
        self.use_bias = bool(use_bias)
        self.scaling = scaling
        self.dropout = unit_interval("dropout", dropout)
        self.init = one_of("init", init, PRESETS)
        self.seed = non_negative_int("seed", seed)
        self.fitted = None if fitted is None else Scaling(**fitted)
        self.margins = None if margins is None else Margins.from_dict(margins)
        self.provenance = Provenance(provenance)
        self.start_carrying()
        self._decoder: Any = None
        self.network = self._make_network()
        self.build((None, self.window, 1))

    def _make_network(self) -> Any:
        shape = (self.units, self.num_layers, self.outputs)
        last: Any = (self.use_bias, Draw(self.init, self.seed))
        if self.window is not None and self.kind == "mlp":
            network = WindowNetwork
            arguments: Any = (self.window, *shape, self.activation, *last)
        else:
            network = RecurrentNetwork
            arguments = (self.kind, *shape, self.every_step, self.dropout, *last)
        return network(*arguments, dtype=self.dtype_policy)

    def build(self, input_shape: Any) -> None:
        self.network.build(input_shape)

    def call(
        self,
        x: Any,
        initial_state: Any = None,
        return_state: bool = False,
        training: bool = False,
    ) -> Any:
        x = ops.cast(x, self.variable_dtype)
        x = ops.expand_dims(x, -1) if len(ops.shape(x)) == 2 else x
        # Whoever hands a state in or wants one back carries it.
        explicit = return_state or initial_state is not None
        carried = None if explicit else self._carry.current(training)
        state = carried.read() if carried else initial_state
        x = carried.sized(x) if carried else x
        centre, scale = self._centre(x), self.scale
        y, state = self.network((x - centre) / scale, initial_state=state, training=training)
        if carried:
            carried.write(state)
        y = ops.cast(y, "float32") * scale + (centre[:, 0] if self.scaling == "window" else centre)
        return (y, state) if return_state else y

    def _centre(self, x: Any) -> Any:
        """What is taken from the points before the network and added after it."""
        if self.scaling == "window":
            return ops.mean(x, axis=1, keepdims=True)
        return self.fitted.mean if self.fitted else 0.0

    @property
    def scale(self) -> float:
        """What one unit of the network is in the series' own unit."""
        return self.fitted.scale if self.fitted else 1.0

    def adapt(self, train: Any) -> None:
        """Fit the scaling on the training part (N,); `fit` does it where nobody has.

        Raises:
            DataError: values that are not finite, or too close together for float32.
        """
        if self.scaling == "none":
            return
        train = as_series(train, "training part")
        scaling = Scaling.of(train)
        if self.scaling == "window" and self.window and len(train) > self.window:
            scaling = scaling_in_windows(*windows(train, self.window), scaling.scale)
        self._use(scaling)

    def _adapt_to_pairs(self, x: Any, y: Any) -> None:
        """Fit the scaling on what `fit` was given, where nobody has."""
        x = getattr(x, "series", x)
        if not isinstance(x, np.ndarray):
            raise UsageError("scaling: must be fitted first, found it is not; call adapt(train)")
        if self.scaling == "window" and isinstance(y, np.ndarray):
            self._use(scaling_in_windows(x, y, Scaling.of(x.ravel()).scale))
        else:
            self.adapt(x.ravel())

    def _use(self, scaling: Scaling) -> None:
        self.fitted = scaling
        # What is compiled already holds the numbers of before.
        self._decoder = self.train_function = self.test_function = self.predict_function = None

    def compile(self, optimizer: Any = None, loss: Any = "mse", **kwargs: Any) -> None:
        """As Keras's; without arguments Adam at 0.01, clipped, and the mean squared error."""
        self.weighs_losses = kwargs.get("loss_weights") is not None
        optimizer = clipped_optimizer("adam", 0.01) if optimizer is None else optimizer
        super().compile(optimizer=optimizer, loss=loss, **kwargs)

    def program(self) -> SeriesProgram | None:
        """Return what a planned step computes, or None where Keras's step must be taken."""
        return SeriesProgram.of(self)

    def compute_loss(
        self,
        x: Any = None,
        y: Any = None,
        y_pred: Any = None,
        sample_weight: Any = None,
        training: bool = True,
    ) -> Any:
        """As Keras's, on the scaled series, so that a learning rate suits any unit."""
        if self.scale != 1.0:
            y, y_pred = y / self.scale, y_pred / self.scale
        return super().compute_loss(x, y, y_pred, sample_weight, training)

    def fit(self, x: Any = None, y: Any = None, **kwargs: Any) -> Any:
        """As Keras's, on windows and what follows them, or on batches of a sequence.

        Arrays are shuffled by the model's seed, alike on every engine.

        Raises:
            DataError: windows or targets of another length, or values that are not finite.
            UsageError: batches that do not fit the model, or a scaling not fitted on anything.
        """
        check_pairs(x, y, self.window, self.outputs, self.every_step)
        if self.fitted is None and self.scaling != "none":
            self._adapt_to_pairs(x, y)
        given = as_list(kwargs.get("callbacks"))
        kwargs["callbacks"] = [NoteResults(self.provenance), ReportSkipped(), *given]
        x, y = drawn_pairs(x, y, kwargs, self.seed, self.provenance.epochs)
        return super().fit(x, y, **kwargs)

    def forecast(self, history: Any, horizon: int) -> np.ndarray:
        """Return the `horizon` values that follow a history (N,), or each of several (B, N).

        Returns:
            (horizon,) or (B, horizon), float32, in the series' own unit.

        Raises:
            UsageError: a horizon that is not a positive whole number.
            DataError: a history shorter than the window, or with values that are not finite.
        """
        horizon = positive_int("horizon", horizon, most=LARGEST_HORIZON)
        rows = histories(history, self.window)
        forecast = roll(self, rows, horizon)
        return forecast[0] if np.ndim(history) == 1 else forecast

    def decoder(self) -> Any:
        """Return the compiled `step(x (B, T, 1), state)` that forecasting runs on."""
        if self._decoder is None:
            self._decoder = require_engine().compile_step(self)
        return self._decoder

    def state_widths(self) -> list[list[int]]:
        """Return, for each recurrent layer, the width of each of its states."""
        return self.network.state_widths()

    def before_fit(self, batches: Any, validation: Any) -> list[keras.callbacks.Callback]:
        """Refuse batches that are not the model's; `fit` does all else itself."""
        check_batches(batches, self.outputs, self.every_step)
        check_batches(validation, self.outputs, self.every_step)
        return []

    def before_evaluate(self, batches: Any) -> None:
        """Refuse batches of a sequence that the model could only read wrongly."""
        check_batches(batches, self.outputs, self.every_step)

    def get_config(self) -> dict[str, Any]:
        names = ("kind", "window", "units", "num_layers", "outputs", "every_step", "activation")
        more = ("use_bias", "scaling", "dropout", "init", "seed")
        return {
            **super().get_config(),
            **{name: getattr(self, name) for name in (*names, *more)},
            "fitted": self.fitted and self.fitted.to_dict(),
            "margins": self.margins and self.margins.to_dict(),
            "provenance": self.provenance.to_dict(),
        }

    @classmethod
    def from_config(cls, config: dict[str, Any], **_: Any) -> Forecaster:
        return cls(**config)


def _check_settings(
    kind: str, window: int | None, every_step: bool, scaling: str, dropout: float
) -> None:
    one_of("kind", kind, KINDS)
    one_of("scaling", scaling, SCALINGS)
    if kind == "mlp" and (window is None or every_step or dropout):
        raise UsageError(
            "kind: a perceptron must read windows of one length and has no dropout, found "
            f"window={window}, every_step={every_step}, dropout={dropout}; choose a recurrent kind"
        )
    if scaling == "window" and (window is None or every_step):
        raise UsageError(
            "scaling: 'window' must know where a window begins, found a model that learns at "
            "every step; choose 'standard'"
        )
