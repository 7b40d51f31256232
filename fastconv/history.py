"""What a run has learnt, epoch by epoch."""

from __future__ import annotations

import csv
import io
import json
import os
from dataclasses import dataclass, field
from typing import Any

from fastconv.data.files import written_atomically


@dataclass
class History:
    r"""What a run has learnt, epoch by epoch.

    Attributes:
        rows: for each epoch a dictionary with `epoch` (from 1), `train_loss`, `test_loss`, `test_accuracy` (both None
            without validation data), `seconds` (since the run began) and `images_per_second` (training alone).

    Example:
        >>> History([{"epoch": 1, "train_loss": 0.5}]).to_csv()
        'epoch,train_loss\n1,0.5\n'
    """

    rows: list[dict[str, Any]] = field(default_factory=list)

    def to_csv(self, path: str | os.PathLike[str] | None = None) -> str:
        """The rows as CSV text; also written to `path` if there is one."""
        text = io.StringIO()
        if self.rows:
            writer = csv.DictWriter(text, self.rows[0].keys(), lineterminator="\n")
            writer.writeheader()
            writer.writerows(self.rows)
        return self._written(text.getvalue(), path)

    def to_json(self, path: str | os.PathLike[str] | None = None) -> str:
        """The rows as a JSON list of objects; also written to `path` if there is one."""
        return self._written(json.dumps(self.rows, indent=1) + "\n", path)

    @staticmethod
    def _written(text: str, path: str | os.PathLike[str] | None) -> str:
        if path is not None:
            with written_atomically(path) as file:
                file.write(text.encode())
        return text

    def __len__(self) -> int:
        return len(self.rows)
