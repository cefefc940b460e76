"""Length and intervals of a run, in steps, and when --stop-when flat ends it."""

from __future__ import annotations

from dataclasses import dataclass

from vaegan.config.settings import FLAT_EVALUATIONS


@dataclass(frozen=True)
class TrainSchedule:
    """Length and intervals of a run, in steps.

    Attributes:
        evaluate_every: steps between evaluations of samples; 0 for none.
        on_collapse: what mode collapse leads to: "stop", "rollback" or "ignore".
        stop_when_flat: end earlier, as soon as `is_flat`.
    """

    total_steps: int
    checkpoint_every: int
    sample_every: int
    log_every: int
    keep_checkpoints: int
    evaluate_every: int
    on_collapse: str = "ignore"
    stop_when_flat: bool = False

    def to_json(self) -> dict[str, int]:
        """Return the entries of config.json.

        Returns:
            length and intervals in steps.
        """
        names = ("total_steps", "checkpoint_every", "sample_every", "evaluate_every")
        return {name: getattr(self, name) for name in names}


def is_flat(step: int, best_step: int, evaluate_every: int) -> bool:
    """Return whether the best evaluation is at least FLAT_EVALUATIONS evaluations old.

    Args:
        step: steps done.
        best_step: step of the lowest KID so far; below 0 for none.
        evaluate_every: steps between evaluations; 0 for none.

    Returns:
        whether it is.
    """
    return evaluate_every > 0 and best_step >= 0 and step - best_step >= FLAT_EVALUATIONS * evaluate_every
