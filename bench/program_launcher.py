"""Starts a program and prints what it cost: a script that imports little, so that it is small itself.

    python -I -S program_launcher.py TIMEOUT_SECONDS PROGRAM [ARGUMENT ...]

What the program prints goes to standard error. Prints one line of JSON: `status`, `cpu_seconds` and `peak_bytes` of the
program and of all children it waited for, `wall_seconds`. A program that takes too long is killed.
"""

import json
import os
import resource
import sys
import time

_ASKED_EVERY_SECONDS = 0.005


def main() -> None:
    """Start, wait, print."""
    timeout_seconds, *arguments = sys.argv[1:]
    started = time.monotonic()
    to_standard_error = (os.POSIX_SPAWN_DUP2, 2, 1)
    pid = os.posix_spawnp(arguments[0], arguments, os.environ, file_actions=[to_standard_error])
    status, usage = _wait(pid, started + float(timeout_seconds))
    cost = {
        "status": os.waitstatus_to_exitcode(status),
        "cpu_seconds": usage.ru_utime + usage.ru_stime,
        "wall_seconds": time.monotonic() - started,
        "peak_bytes": usage.ru_maxrss * 1024,
    }
    print(json.dumps(cost))


def _wait(pid: int, deadline: float) -> tuple[int, resource.struct_rusage]:
    """Wait as `wait4` does, which tells what this one child and its descendants used, up to a time."""
    while True:
        found, status, usage = os.wait4(pid, os.WNOHANG)
        if found:
            return status, usage
        if time.monotonic() > deadline:
            os.kill(pid, 9)
            deadline = float("inf")
        time.sleep(_ASKED_EVERY_SECONDS)


if __name__ == "__main__":
    main()
