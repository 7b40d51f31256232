"""What training shows and writes while it runs."""

from __future__ import annotations

import argparse
import sys
from typing import Any

from tqdm import tqdm

from fastconv._arguments.sizes import ceil_div
from fastconv.checkpoint import Checkpoint, save_checkpoint
from fastconv.cli.log_styles import STYLES
from fastconv.history import History
from fastconv.optim import Optimizer
from fastconv.training import Position, Run
from fastconv.weights import save_weights


class Reporter:
    """The progress bar, the files written after every epoch, and the answer to Ctrl-C."""

    def __init__(self, arguments: argparse.Namespace, settings: dict[str, Any], images: int, position: Position):
        self.arguments, self.settings, self.images = arguments, settings, images
        self.style = STYLES[arguments.log_style]
        steps = ceil_div(images, settings["batch_size"])
        self.interrupted = False
        # tqdm draws on standard error, and nothing where that is not a terminal
        self.bar = tqdm(total=steps * settings["epochs"], initial=position.epoch * steps + position.step, disable=None,
                        unit="step", dynamic_ncols=True)  # fmt: skip

    def on_interrupt(self, *_: Any) -> None:
        """End the run after the step at hand; asked again, at once."""
        if self.interrupted:
            raise KeyboardInterrupt
        self.interrupted = True

    def __call__(self, run: Run) -> bool:
        """Show a step or an epoch; whether the run is to end."""
        if run.epoch_ended:
            self.say(self.style.epoch(run.history.rows[-1]))
            self.write(run.model, run.optimizer, run.history, run.position)
        else:
            self.bar.update()
            rate = run.position.images / max(run.position.seconds - self._before(run), 1e-9)
            accuracy = run.history.rows[-1]["test_accuracy"] if run.history.rows else None
            shown = "" if accuracy is None else f", test accuracy {accuracy:.2%}"
            self.bar.set_description(f"epoch {run.position.epoch + 1}/{run.epochs}", refresh=False)
            self.bar.set_postfix_str(f"loss {run.loss:.4f}{shown}, {rate:,.0f} images/s", refresh=False)
            self.say(self.style.step(run, self.images))
        return self.interrupted

    @staticmethod
    def _before(run: Run) -> float:
        return run.history.rows[-1]["seconds"] if run.history.rows else 0.0

    def say(self, text: str) -> None:
        """Print a text, if it is one, above the bar."""
        if text and not self.arguments.json:
            tqdm.write(text, file=sys.stdout)

    def write(self, model: Any, optimizer: Optimizer, history: History, position: Position) -> None:
        """Write the files that were asked for, as they are after an epoch."""
        if self.arguments.save:
            self.save(self.arguments.save, model, optimizer, history, position)
        if self.arguments.save_weights:
            save_weights(self.arguments.save_weights, model.state_dict())
        for path in self.arguments.history:
            (history.to_json if path.endswith(".json") else history.to_csv)(path)
        if self.arguments.plot:
            from fastconv.viz import save_history

            save_history(history, self.arguments.plot, language=self.arguments.language)

    def save(self, path: str, model: Any, optimizer: Optimizer, history: History, position: Position) -> None:
        """Write a checkpoint."""
        state = Checkpoint(model.state_dict(resumable=True), optimizer.state_dict(), self.settings, history, position)
        save_checkpoint(path, state)
