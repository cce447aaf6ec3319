"""Runs one command and reports its resource usage. Started by path, uses the standard library only.

It is a separate process because Linux counts the memory of a program's parent as the program's
first peak: this one is smaller than anything that it starts.

    python -I -S launch.py REPORT COMMAND [ARGUMENT ...]
"""

import json
import resource
import subprocess
import sys
import time
from pathlib import Path

if __name__ == "__main__":
    started = time.perf_counter()
    code = subprocess.call(sys.argv[2:])  # noqa: S603 - our own command
    wall = time.perf_counter() - started
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    # Kilobytes, but bytes on macOS.
    memory = used.ru_maxrss * (1 if sys.platform == "darwin" else 1024)
    figures = {"wall": wall, "cpu": used.ru_utime + used.ru_stime, "memory": memory, "code": code}
    Path(sys.argv[1]).write_text(json.dumps(figures), encoding="utf-8")
