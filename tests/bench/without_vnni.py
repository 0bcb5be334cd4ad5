"""Runs programs as on a processor without AVX-512, VNNI and AMX: those of this one are hidden.

::

    python tests/bench/without_vnni.py onnxq bench FLOAT QUANTIZED --threads 1

``without_vnni.c`` is preloaded and answers CPUID in the program's place. Where the processor does
not let CPUID fault, a copy of ONNX Runtime's library is made in which CPUID is a trap.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tempfile
from importlib.util import find_spec
from pathlib import Path

SOURCE = Path(__file__).with_suffix(".c")
CPUID, TRAP = b"\x0f\xa2", b"\xcc\x90"
"""The instruction, and as many bytes that trap: INT3, NOP."""


def hiding(folder: Path) -> dict[str, str] | None:
    """Environment variables under which programs see AVX2 alone; None where that is not possible.

    What they need is written into *folder*.
    """
    compiler = shutil.which("cc")
    if not sys.platform.startswith("linux") or compiler is None:
        return None
    library = folder / "without_vnni.so"
    command = [compiler, "-O2", "-shared", "-fPIC", SOURCE, "-o", library]
    if subprocess.run(command, check=False, capture_output=True).returncode:
        return None
    found = {"LD_PRELOAD": str(library)}
    idle = [sys.executable, "-c", ""]
    env = os.environ | found
    if not subprocess.run(idle, env=env, check=False, capture_output=True).returncode:
        return found
    if shutil.which("objdump") is None:
        return None
    trapping(folder)
    path = os.pathsep.join([str(folder), *filter(None, [os.environ.get("PYTHONPATH")])])
    return found | {"PYTHONPATH": path, "WITHOUT_VNNI_TRAPS": "1"}


def trapping(folder: Path) -> None:
    """Writes a package onnxruntime into *folder* whose library traps where it had CPUID."""
    spec = find_spec("onnxruntime")
    assert spec is not None and spec.origin is not None
    package = folder / "onnxruntime"
    shutil.copytree(Path(spec.origin).parent, package, copy_function=os.symlink)
    (library,) = (package / "capi").glob("onnxruntime_pybind11_state*.so")
    data = library.resolve()
    library.unlink()
    shutil.copyfile(data, library)
    with library.open("r+b") as file:
        for offset in instructions(library, "cpuid"):
            file.seek(offset)
            assert file.read(2) == CPUID
            file.seek(offset)
            file.write(TRAP)


def instructions(library: Path, name: str) -> list[int]:
    """Where in the file *library* the instruction *name* stands, in bytes from its beginning.

    Its text of hundreds of megabytes is read by the line: what this process holds at its peak would
    be counted as that of the programs whose memory it measures (``process.py``).
    """
    sections = subprocess.check_output(["objdump", "-h", "-j", ".text", library], text=True)
    fields = re.search(r"\.text +[0-9a-f]+ +([0-9a-f]+) +[0-9a-f]+ +([0-9a-f]+)", sections)
    assert fields is not None
    address, offset = (int(field, 16) for field in fields.groups())
    command = ["objdump", "-d", "-j", ".text", "--no-show-raw-insn", library]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        found = [line.split(":")[0] for line in process.stdout if f":\t{name}" in line]
    assert not process.returncode
    return [int(at, 16) - address + offset for at in found]


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        hidden = hiding(Path(folder))
        if hidden is None:
            sys.exit("instructions can be hidden on Linux, with a C compiler and objdump")
        sys.exit(subprocess.run(sys.argv[1:], env=os.environ | hidden, check=False).returncode)


if __name__ == "__main__":
    main()
