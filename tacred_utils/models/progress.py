"""How a training that nobody watches on a terminal says where it is: a line an epoch."""

import os
import sys

from tacred_utils.models.settings import TrainingSettings


def report(run: str, epoch: dict[str, float], recipe: TrainingSettings, took: float, left: float) -> None:
    """Write a line on an epoch of the history to standard error, unless that is a terminal; `took` and `left` in seconds."""
    score = f"dev {recipe.select} {epoch[f'dev_{recipe.select}']:.4f}" if "dev_loss" in epoch else "no row of dev"
    line = f"{run}: epoch {epoch['epoch']} of {recipe.epochs}, loss {epoch['train_loss']:.4f}, {score}"
    _write(f"{line}, {_clock(took)} so far, {_clock(left)} left{' at most' * bool(recipe.patience)}\n")


def _write(text: str) -> None:
    try:
        place = sys.stderr.fileno()  # in a notebook's kernel what that was started with, not what becomes an output
        if not os.isatty(place):
            os.write(place, text.encode())
    except (AttributeError, OSError, ValueError):  # there is none, or it is closed: then nobody listens
        return


def _clock(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes // 60}:{minutes % 60:02}:{rest:02}"
