"""Runs one command and reports its resource usage. Started by path, uses the standard library only.

It is a separate process because Linux counts the memory of a program's parent as the program's
first peak: this one is smaller than anything that it starts.

    python -I -S launch.py REPORT COMMAND [ARGUMENT ...]
"""

import json
import os
import sys
import time


def main(report: str, command: list[str]) -> int:
    """Run the command with this process's standard streams; return its exit code."""
    started = time.perf_counter()
    child = os.posix_spawnp(command[0], command, os.environ)
    _, status, used = os.wait4(child, 0)
    wall = time.perf_counter() - started
    code = os.waitstatus_to_exitcode(status)
    figures = {
        "wall": wall,
        "cpu": used.ru_utime + used.ru_stime,
        # Kilobytes, but bytes on macOS.
        "memory": used.ru_maxrss * (1 if sys.platform == "darwin" else 1024),
        "code": code,
    }
    with open(report, "w", encoding="utf-8") as file:  # noqa: PTH123 - importing pathlib costs memory
        json.dump(figures, file)
    return code


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], sys.argv[2:]) and 1)
