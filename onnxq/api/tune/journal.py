"""What was measured, kept on disk as it is found: an interrupted search goes on where it ended.

One JSON object a line. A line holds for one digest (of model, data, target and versions) and one
candidate; budgets are not part of it, so that other budgets find what was measured before.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from onnxq.api.tune.candidate import Candidate, Measured
from onnxq.api.tune.noise import LayerNoise
from onnxq.errors import OutputError


class Journal:
    """A file of measurements; without a *path* it is kept in memory alone.

    Raises:
        OutputError: the file cannot be read or written.
    """

    def __init__(self, path: Path | None, digest: str) -> None:
        self.path, self.digest = path, digest
        self._known: dict[str, Any] = {}
        self.found = 0
        if path is not None and path.exists():
            try:
                lines = path.read_text(encoding="utf-8").splitlines()
            except (OSError, UnicodeDecodeError) as error:
                raise OutputError(f"the journal '{path}' cannot be read", why=str(error)) from error
            for line in lines:
                self._take(line)
            self.found = len(self._known)

    def _take(self, line: str) -> None:
        """Take what *line* holds; one that was cut short holds nothing."""
        try:
            entry = json.loads(line)
        except ValueError:
            return
        if isinstance(entry, dict) and entry.get("digest") == self.digest:
            self._known[entry["key"]] = entry["value"]

    def measured(self, candidate: Candidate) -> Measured | None:
        """What is known of *candidate*."""
        value = self._known.get(f"measured {candidate.text}")
        return None if value is None else Measured(**value)

    def keep(self, candidate: Candidate, found: Measured) -> None:
        """Note what *candidate* is."""
        self._write(f"measured {candidate.text}", asdict(found))

    def noise(self, candidate: Candidate) -> list[LayerNoise] | None:
        """The noise of the layers of *candidate*."""
        value = self._known.get(f"noise {candidate.text}")
        if value is None:
            return None
        return [LayerNoise(**{**v, "reads": tuple(v["reads"])}) for v in value]

    def keep_noise(self, candidate: Candidate, found: Sequence[LayerNoise]) -> None:
        """Note the noise of the layers of *candidate*."""
        self._write(f"noise {candidate.text}", [asdict(layer) for layer in found])

    def _write(self, key: str, value: Any) -> None:
        self._known[key] = value
        if self.path is None:
            return
        line = json.dumps({"digest": self.digest, "key": key, "value": value}, sort_keys=True)
        try:
            before = self.path.read_bytes()[-1:] if self.path.exists() else b""
            with self.path.open("a", encoding="utf-8") as file:
                # a line that an interruption cut short must not swallow this one
                file.write(("\n" if before not in (b"", b"\n") else "") + line + "\n")
        except OSError as error:
            raise OutputError(
                f"the journal '{self.path}' cannot be written", why=error.strerror or str(error)
            ) from error
