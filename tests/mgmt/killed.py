"""A process that changes a configuration and is killed by a real SIGKILL at a step of it; and what is left then.

The steps are lines of the log (`mgmt.netconf.store.transaction`), so the signal comes from a handler of the log.
"""

from __future__ import annotations

import logging
import multiprocessing
import os
import signal
from pathlib import Path

from lxml import etree

from mgmt.netconf.store.confirmed import Confirm
from mgmt.netconf.store.datastore import Datastore
from nf.settings import Settings

BASE = "urn:ietf:params:xml:ns:netconf:base:1.0"
STEPS = ("valid", "prepared", "written", "applied", "verified", "renamed")
EXPECTED = {step: "new" if step == "renamed" else "old" for step in STEPS}


class Kernel:
    """An applier whose kernel is a file: it says after a kill what was in force."""

    def __init__(self, folder: Path) -> None:
        self._file = folder / "kernel"

    def prepare(self, old: Settings, new: Settings) -> None:
        """Take all."""

    def apply(self, old: Settings, new: Settings) -> None:
        self._file.write_text(" ".join(policy.name for policy in new.policies))

    restore = apply

    def verify(self, old: Settings, new: Settings) -> list[str]:
        has = self._file.read_text()
        return [] if has == " ".join(policy.name for policy in new.policies) else [f"the kernel has {has}"]


class Killer(logging.Handler):
    """Kills this process when the log says a step."""

    def __init__(self, step: str) -> None:
        super().__init__(logging.DEBUG)
        self._end = f": {step}"

    def emit(self, record: logging.LogRecord) -> None:
        if record.getMessage().endswith(self._end):
            os.kill(os.getpid(), signal.SIGKILL)


def at_step(step: str) -> None:
    """Kill this process when a transaction comes to a step."""
    transactions = logging.getLogger("mgmt.netconf.store.transaction")
    transactions.setLevel(logging.DEBUG)
    transactions.addHandler(Killer(step))


def policies(name: str) -> etree._Element:
    return etree.fromstring(
        f'<config xmlns="{BASE}"><policies xmlns="urn:supernetflow:yang:snf-policies"><policy><name>{name}</name>'
        "<application>youtube</application><action>count</action></policy></policies></config>"
    )


def begin(folder: Path) -> None:
    """Make the configuration that is called old the one in force."""
    datastore = Datastore(folder / "state", Kernel(folder))
    session = datastore.open_session()
    datastore.edit(session, policies("old"), "replace")
    datastore.commit(session)


def change(folder: Path, step: str, confirm: Confirm | None = None) -> int:
    """Change to the configuration that is called new, in a process that is killed at *step*; return its status.

    At the step ``waiting`` the change is done; with *confirm* it waits for its confirmation then.
    """
    process = multiprocessing.get_context("fork").Process(target=_change, args=(folder, step, confirm))
    process.start()
    process.join()
    return process.exitcode or 0


def _change(folder: Path, step: str, confirm: Confirm | None) -> None:
    datastore = Datastore(folder / "state", Kernel(folder))
    at_step(step)
    session = datastore.open_session()
    datastore.edit(session, policies("new"), "replace")
    datastore.commit(session, confirm)
    os.kill(os.getpid(), signal.SIGKILL)


def after(folder: Path) -> str:
    """Start again, and return the name of what is in force, in the kernel and on disk, which agree."""
    datastore = Datastore(folder / "state", Kernel(folder))
    (name,) = (policy.name for policy in datastore.settings.policies)
    assert (folder / "kernel").read_text() == name
    numbers = [revision.number for revision in datastore.revisions()]
    files = {path.name for path in (folder / "state").iterdir()}
    assert files == {"journal", "running.xml", *(f"running.{number}.xml" for number in numbers)}
    assert numbers == list(range(len(numbers), 0, -1))
    return name
