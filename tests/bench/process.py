"""Run a program in a fresh process: its wall time, and its peak of resident memory.

Import nothing heavy here or in ``compare.py``: Linux hands the caller's own peak down to the child
(``exec`` keeps the larger of the two), so the caller has to stay small for the figure to be the
child's.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Finished:
    """How a process ended.

    *seconds* is wall time, *cpu_seconds* what all its threads computed, which other work on the
    machine hardly changes; *peak_mb* its largest resident set, in 10^6 bytes.
    """

    code: int
    seconds: float
    cpu_seconds: float
    peak_mb: float
    output: str
    errors: str

    @property
    def reason(self) -> str:
        """Why it failed: the last line that says something, or the message in a frame."""
        lines = (self.errors or self.output).splitlines()
        said = [line.strip(" │╭╮╰╯─") for line in lines]
        said = [line for line in said if line]
        if any(line.startswith("╭") for line in lines):
            return " ".join(said)[:300]
        return (said or [f"exit code {self.code}"])[-1][:300]


def run(command: Sequence[str | Path]) -> Finished:
    """Run *command* to its end and measure it by what the kernel counted for it (wait4).

    Python may keep compiled modules, as it does by default: installed packages come compiled, a
    checkout would be compiled anew in every run.
    """
    env = {k: v for k, v in os.environ.items() if k != "PYTHONDONTWRITEBYTECODE"}
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
        start = time.perf_counter()
        child = subprocess.Popen(
            [str(part) for part in command],
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=err,
            env=env,
        )
        _, status, usage = os.wait4(child.pid, 0)
        seconds = time.perf_counter() - start
        child.returncode = os.waitstatus_to_exitcode(status)
        texts = []
        for stream in (out, err):
            stream.seek(0)
            texts.append(stream.read().decode(errors="replace"))
    unit = 1 if sys.platform == "darwin" else 1024
    cpu = usage.ru_utime + usage.ru_stime
    return Finished(child.returncode, seconds, cpu, usage.ru_maxrss * unit / 1e6, *texts)
