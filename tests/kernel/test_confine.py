"""The filter of system calls: what it denies is refused in every thread and child, and the rest goes on."""

from __future__ import annotations

import subprocess
import sys
import textwrap
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PROGRAM = """
import ctypes, errno, os, socket, subprocess, threading
import seccomp
from nf.kernel import confine

libc = ctypes.CDLL(None, use_errno=True)
numbers = {name: seccomp.resolve_syscall(seccomp.Arch(), name) for name in confine.DENIED}

def refused():
    for name, number in numbers.items():
        if number >= 0:
            assert libc.syscall(number, -1, -1, -1, -1, -1, -1) == -1, name
            assert ctypes.get_errno() == errno.EPERM, (name, ctypes.get_errno())
    return len([number for number in numbers.values() if number >= 0])

go, said = threading.Event(), []
before = threading.Thread(target=lambda: (go.wait(), said.append(refused())))
before.start()
confine.confine()
go.set()
before.join()
after = threading.Thread(target=lambda: said.append(refused()))
after.start()
after.join()
said.append(refused())
mounted = subprocess.run(["mount", "-t", "tmpfs", "none", "/mnt"], capture_output=True, text=True)
assert mounted.returncode != 0, "a child is confined, too"
subprocess.run(["ip", "link", "show", "lo"], check=True, capture_output=True)
socket.create_server(("127.0.0.1", 0)).close()
with open("/proc/self/status") as file:
    print(said, [line.split()[1] for line in file if line.startswith(("NoNewPrivs", "Seccomp:"))])
"""


class TestFilter:
    """Once it is loaded it holds for the whole process, for good."""

    def test_each_call_of_the_list_is_refused(self):
        done = subprocess.run(
            [sys.executable, "-c", textwrap.dedent(PROGRAM)], capture_output=True, text=True, check=False, cwd=ROOT
        )
        assert done.returncode == 0, done.stderr
        said, flags = done.stdout.strip().rsplit("[", 1)
        counts = {int(n) for n in said.strip(" []").split(",")}
        assert len(counts) == 1
        assert counts.pop() > 50
        assert flags == "'1', '2']"
