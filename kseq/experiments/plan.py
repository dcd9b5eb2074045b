"""Plans: every choice of an experiment on one line each, and the named presets."""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from typing import Any

from kseq.checks import one_of
from kseq.errors import DataError


@dataclass(frozen=True)
class Plan:
    """What is trained on a series, how, and how far ahead it is judged.

    kind .. dropout: as in `Forecaster`.
    num_steps, batch_size: for models that learn at every step, of their stretches of the series.
    clip: bound on the global norm of the gradients; None lets them be.
    train, valid: points to train on, and after them to calibrate intervals and choose the epoch.
    keep: weights of the "best" epoch by the valid part, or of the "last".
    horizon: steps ahead that are judged.
    steps: of them, those a table shows.
    level: the share of the future an interval is to hold.
    ridge: penalty of the direct autoregression beside the model, for as many lags; None for none.
    """

    kind: str = "mlp"
    window: int | None = 4
    units: int = 10
    num_layers: int = 1
    outputs: int = 1
    every_step: bool = False
    activation: str = "relu"
    use_bias: bool = True
    scaling: str = "none"
    dropout: float = 0.0
    optimizer: str = "adam"
    learning_rate: float = 0.01
    schedule: str = "constant"
    weight_decay: float | None = None
    clip: float | None = 1.0
    epochs: int = 5
    batch_size: int = 16
    num_steps: int = 32
    keep: str = "last"
    train: int = 600
    valid: int = 0
    horizon: int = 64
    steps: tuple[int, ...] = (1, 4, 16, 64)
    level: float = 0.9
    ridge: float | None = None
    seed: int = 0

    @property
    def first_judged(self) -> int:
        """Index of the first point that neither trained the model nor chose its epoch."""
        return self.train + (self.valid if self.keep == "best" else 0)

    def changed(self, **options: Any) -> Plan:
        """Return the plan with those of `options` that are not None."""
        return replace(
            self, **{name: value for name, value in options.items() if value is not None}
        )

    def to_dict(self) -> dict[str, Any]:
        """Return the choices by name, as plain JSON values."""
        return {**asdict(self), "steps": list(self.steps)}


# Dive into Deep Learning 8.1: 600 pairs of 4 points and the next, which end with point 604.
SINE_MLP = Plan(clip=None, train=604)
# All 64 steps through a bottleneck of 4 units that read 192 points: a regression of low rank.
# Without constants: 600 points are less than a whole swing, and one learnt from them is wrong.
SINE_DIRECT = Plan(
    window=192,
    units=4,
    outputs=64,
    activation="linear",
    use_bias=False,
    optimizer="adamw",
    weight_decay=0.3,
    schedule="one_cycle",
    learning_rate=0.02,
    epochs=60,
    batch_size=32,
    train=600,
    valid=200,
    ridge=10.0,
)
# Learns at every step the next one, along stretches of the series, with its state carried.
SINE_RECURRENT = Plan(
    kind="lstm",
    window=None,
    units=16,
    every_step=True,
    schedule="one_cycle",
    epochs=60,
    batch_size=1,
    num_steps=64,
    train=600,
    valid=200,
)


def for_kind(series: str, plan: Plan, kind: str) -> Plan:
    """Return the plan for a series of ours with another kind of model.

    Example:
        >>> for_kind("noisy-sine", SINE_MLP, "gru").every_step
        True
    """
    if series == "noisy-sine" and kind != "mlp":
        return replace(SINE_RECURRENT, kind=kind)
    return replace(plan, kind=kind)


def plan_for(points: int, horizon: int, kind: str = "mlp", season: int | None = None) -> Plan:
    """Return a plan that suits a series of a user's own.

    60 % of the points train, 20 % choose the epoch and calibrate, 20 % judge.  The model reads two
    horizons, or two seasons if that is more, and gives the whole horizon at once.

    Raises:
        DataError: too few points for the horizon.

    Example:
        >>> plan_for(1000, horizon=24).window
        48
    """
    train, valid = int(0.6 * points), int(0.2 * points)
    window = min(max(2 * horizon, 2 * (season or 0), 8), train - 2 * horizon)
    room = points - train - valid
    if window < 1 or valid < horizon + 10 or room < horizon:
        raise DataError(
            f"series: must have at least {_fewest(horizon)} points to train on, calibrate and "
            f"judge {horizon} steps ahead, found {points}; lower the horizon or use a longer series"
        )
    return Plan(
        kind=kind,
        window=window,
        units=32,
        outputs=horizon,
        scaling="window",
        optimizer="adamw",
        weight_decay=0.01,
        schedule="one_cycle",
        learning_rate=0.005,
        epochs=100,
        batch_size=32,
        keep="best",
        train=train,
        valid=valid,
        horizon=horizon,
        steps=shown_steps(horizon),
    )


def _fewest(horizon: int) -> int:
    return 5 * (horizon + 10)


def shown_steps(horizon: int) -> tuple[int, ...]:
    """One step, the horizon, and two between them.

    Example:
        >>> shown_steps(24), shown_steps(2)
        ((1, 6, 12, 24), (1, 2))
    """
    return tuple(sorted({1, max(1, horizon // 4), max(1, horizon // 2), horizon}))


# Without noise a forecast may feed on itself: the error of each step is small, and only chaos
# makes it grow.
_CHAOS: dict[str, Any] = {"outputs": 1, "units": 64, "scaling": "standard", "learning_rate": 0.01}
PRESETS: dict[str, tuple[str, Plan]] = {
    "sine-mlp": ("noisy-sine", SINE_MLP),
    "sine-direct": ("noisy-sine", SINE_DIRECT),
    "mackey-glass": ("mackey-glass", replace(plan_for(2000, 64), window=24, **_CHAOS)),
    "logistic-map": ("logistic-map", replace(plan_for(2000, 8), window=2, **_CHAOS)),
    "calendar": ("calendar", plan_for(4 * 365, 28)),
}


def preset(name: str) -> tuple[str, Plan]:
    """Return the name of the series and the plan of a preset.

    Raises:
        UsageError: an unknown name; the nearest is named.

    Example:
        >>> preset("sine-mlp")[1].window
        4
    """
    return PRESETS[one_of("preset", name, PRESETS)]
