"""Chromium without a window, told what to do by its DevTools protocol over a pipe: no packet of ours on its network.

with Browser(lab, "ue1", folder, spki) as browser:
    browser.open("https://www.netflix.com/", scripts=[...])
    browser.call("expression")          evaluated in the page, promises awaited
    browser.told                        objects that the page told by its binding ``tell``, so far
"""

from __future__ import annotations

import base64
import contextlib
import fcntl
import hashlib
import json
import os
import shutil
import signal
import subprocess
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from lab.lab import Lab
from lab.net import PARENT, LabError
from lab.plan import DNS
from lab.wait import wait_until

__all__ = ["Browser", "chromium", "spki"]

_FLAGS = (
    "--headless=new", "--no-sandbox", "--disable-gpu", "--mute-audio", "--no-first-run", "--disable-sync",
    "--remote-debugging-pipe", "--no-default-browser-check", "--disable-background-networking",
    "--disable-default-apps", "--disable-component-update", "--disable-domain-reliability",
    "--disable-client-side-phishing-detection",
    "--disable-extensions", "--disable-breakpad", "--metrics-recording-only", "--disable-dev-shm-usage",
    "--autoplay-policy=no-user-gesture-required", "--use-fake-ui-for-media-stream",
    "--use-fake-device-for-media-stream",
    "--disable-background-timer-throttling", "--disable-renderer-backgrounding",
    "--disable-backgrounding-occluded-windows",
    "--window-size=480,320",
    "--disable-features=WebRtcHideLocalIpsWithMdns,OptimizationHints,MediaRouter,Translate,"
    "DialMediaRouteProvider,AutofillServerCommunication,CertificateTransparencyComponentUpdater,HttpsUpgrades,DnsOverHttps",
)  # fmt: skip
# The kernel's name service of the machine is not the lab's: the browser sees a resolv.conf of its own.
_INSIDE = 'mount --bind "$1" /etc/resolv.conf && exec 3<&"$2" 4>&"$3" && shift 3 && exec "$@"'


def chromium() -> str:
    """Return Chromium's program; raises LabError when it is not there."""
    for name in ("/usr/lib/chromium/chromium", shutil.which("chromium") or ""):
        if name and Path(name).exists():
            return name
    raise LabError("Chromium is not installed. Run: make truth, or apt-get install chromium")


def spki(certificate: Path) -> str:
    """Return the hash of a certificate's key, by which Chromium is told to trust it."""
    key = x509.load_pem_x509_certificate(certificate.read_bytes()).public_key()
    return base64.b64encode(
        hashlib.sha256(key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)).digest()
    ).decode()


class Browser:
    """One Chromium with one page, in a namespace of the lab."""

    def __init__(self, lab: Lab, namespace: str, folder: Path, trusted: str, flags: Sequence[str] = ()) -> None:
        self.told: list[dict[str, Any]] = []
        self._lab, self._namespace, self._folder = lab, namespace, folder
        self._flags = (
            *_FLAGS,
            f"--ignore-certificate-errors-spki-list={trusted}",
            *flags,
            f"--user-data-dir={folder}/profile",
        )
        self._answers: dict[int, dict[str, Any]] = {}
        self._waits = threading.Condition()
        self._number = 0
        self._session = ""
        self._loaded = threading.Event()

    def __enter__(self) -> Browser:
        self._folder.mkdir(parents=True, exist_ok=True)
        resolv = self._folder / "resolv.conf"
        resolv.write_text(f"nameserver {DNS}\n", encoding="ascii")
        to_us, ours = os.pipe()
        theirs, to_them = os.pipe()
        low = [fcntl.fcntl(fd, fcntl.F_DUPFD, 20) for fd in (theirs, ours)]  # away from 3 and 4, which they become
        words = [
            "unshare",
            "--mount",
            "bash",
            "-c",
            _INSIDE,
            "bash",
            str(resolv),
            *map(str, low),
            chromium(),
            *self._flags,
        ]
        with (self._folder / "chromium.log").open("wb") as log:
            self._process = subprocess.Popen(
                [*self._lab.net.prefix(self._namespace), "setpriv", "--pdeathsig", "TERM", *words, "about:blank"],
                stdin=subprocess.DEVNULL, stdout=log, stderr=log, pass_fds=low, start_new_session=True,
                env=os.environ | {PARENT: str(os.getpid()), "HOME": str(self._folder)},
            )  # fmt: skip
        for fd in (theirs, ours, *low):
            os.close(fd)
        self._to_them = to_them
        self._reader = threading.Thread(target=self._read, args=(to_us,), daemon=True)
        self._reader.start()
        try:
            page = wait_until(self._page, "Chromium has a page", 30, check=self._alive)
            self._session = self.command("Target.attachToTarget", targetId=page, flatten=True)["sessionId"]
            for domain in ("Page", "Runtime"):
                self.command(f"{domain}.enable")
            self.command("Runtime.addBinding", name="tell")
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        with contextlib.suppress(LabError, OSError):
            self._session = ""
            self._send("Browser.close")
        with contextlib.suppress(LabError):
            wait_until(lambda: self._process.poll() is not None, "Chromium ends", 5)
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)  # its own group: it was started as a session
        self._process.wait()
        os.close(self._to_them)
        self._reader.join(5)

    def _alive(self) -> None:
        if self._process.poll() is not None:
            words = (self._folder / "chromium.log").read_text("utf-8", "replace").strip().splitlines()[-5:]
            raise LabError(f"Chromium ended with status {self._process.returncode}: {' | '.join(words)}")

    def _page(self) -> str:
        targets = self.command("Target.getTargets")["targetInfos"]
        return next((str(t["targetId"]) for t in targets if t["type"] == "page"), "")

    def _read(self, fd: int) -> None:
        with open(fd, "rb", buffering=0) as pipe:
            rest = b""
            while data := pipe.read(1 << 16):
                *whole, rest = (rest + data).split(b"\0")
                for message in whole:
                    self._take(json.loads(message))
        with self._waits:
            self._waits.notify_all()

    def _take(self, message: dict[str, Any]) -> None:
        if "id" in message:
            with self._waits:
                self._answers[message["id"]] = message
                self._waits.notify_all()
        elif message["method"] == "Runtime.bindingCalled":
            self.told.append(json.loads(message["params"]["payload"]))
        elif message["method"] == "Page.loadEventFired":
            self._loaded.set()
        elif message["method"] == "Runtime.exceptionThrown":
            details = message["params"]["exceptionDetails"]
            self.told.append(
                {"event": "exception", "what": details.get("exception", {}).get("description", details["text"])}
            )

    def _send(self, method: str, **words: Any) -> int:
        self._number += 1
        message = {"id": self._number, "method": method, "params": words}
        if self._session:
            message["sessionId"] = self._session
        data = json.dumps(message).encode() + b"\0"
        while data:
            data = data[os.write(self._to_them, data) :]
        return self._number

    def command(self, method: str, **words: Any) -> dict[str, Any]:
        """Send a command and return its result; raises LabError when Chromium refuses, ends, or says nothing."""
        number = self._send(method, **words)
        with self._waits:
            while number not in self._answers:
                if not self._waits.wait(60):
                    raise LabError(f"Chromium does not answer {method}")
                self._alive()
            answer = self._answers.pop(number)
        if "error" in answer:
            raise LabError(f"Chromium refused {method}: {answer['error'].get('message')}")
        return dict(answer.get("result", {}))

    def open(self, url: str, scripts: Sequence[Path] = ()) -> None:
        """Go to a page; when it is loaded *scripts* run in it, none of their octets on the network."""
        self._loaded.clear()
        found = self.command("Page.navigate", url=url)
        if found.get("errorText"):
            raise LabError(f"{url} cannot be opened: {found['errorText']}")
        wait_until(self._loaded.is_set, f"{url} is loaded", 60, check=self._alive)
        for script in scripts:
            self.call(f"{script.read_text('utf-8')}\n;undefined")

    def call(self, expression: str) -> Any:
        """Return the value of an expression in the page."""
        found = self.command("Runtime.evaluate", expression=expression, awaitPromise=True, returnByValue=True)
        if "exceptionDetails" in found:
            raise LabError(f"the page fails: {found['exceptionDetails'].get('exception', {}).get('description')}")
        return found["result"].get("value")
