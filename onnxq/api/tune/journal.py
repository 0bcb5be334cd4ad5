"""What was measured, kept on disk as it is found: an interrupted search goes on where it ended.

One JSON object a line. A line holds for one digest (of model, data, target and versions), one
candidate and the passes of its recipe; budgets are not part of it, so that other budgets find what
was measured before.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from onnxq.api.tune.candidate import Candidate, Measured
from onnxq.api.tune.noise import LayerNoise
from onnxq.errors import OutputError


class Journal:
    """A file of measurements.

    Args:
        path: where it is; None keeps it in memory alone.
        digest: of what all candidates share.
        recipe_of: the passes of a candidate.

    Raises:
        OutputError: the file cannot be read or written.
    """

    def __init__(
        self, path: Path | None, digest: str, recipe_of: Callable[[Candidate], object]
    ) -> None:
        self.path, self.digest, self._recipe_of = path, digest, recipe_of
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
        value = self._known.get(self._key("measured", candidate))
        return None if value is None else Measured(**value)

    def keep(self, candidate: Candidate, found: Measured) -> None:
        """Note what *candidate* is."""
        self._write(self._key("measured", candidate), asdict(found))

    def noise(self, candidate: Candidate) -> list[LayerNoise] | None:
        """The noise of the layers of *candidate*."""
        value = self._known.get(self._key("noise", candidate))
        if value is None:
            return None
        pairs = ("reads", "seconds")  # JSON has made lists of them
        return [
            LayerNoise(**{**layer, **{k: tuple(layer[k]) for k in pairs if k in layer}})
            for layer in value
        ]

    def keep_noise(self, candidate: Candidate, found: Sequence[LayerNoise]) -> None:
        """Note the noise of the layers of *candidate*."""
        self._write(self._key("noise", candidate), [asdict(layer) for layer in found])

    def _key(self, kind: str, candidate: Candidate) -> str:
        passes = hashlib.sha256(str(self._recipe_of(candidate)).encode()).hexdigest()[:12]
        return f"{kind} {candidate.text} {passes}"

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
