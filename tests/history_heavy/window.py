"""A browser in a network namespace that has nothing but its loopback: what it shows, asks for, and looks like."""

from __future__ import annotations

import base64
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from lab.net import Net
from lab.truth.browser import Browser
from lab.wait import wait_until

_KEYS = {"Enter": 13, "Escape": 27}


class Window(Browser):
    """Chromium with one page. ``asked``: addresses of all requests, ``refused``: what the log of the browser says."""

    def __init__(self, net: Net, namespace: str, folder: Path) -> None:
        super().__init__(SimpleNamespace(net=net), namespace, folder, "", ("--hide-scrollbars", "--lang=en-GB"))
        self.asked: list[str] = []
        self.refused: list[str] = []

    def __enter__(self) -> Window:
        super().__enter__()
        for domain in ("Network", "Log"):
            self.command(f"{domain}.enable")
        self.command("Emulation.setTimezoneOverride", timezoneId="UTC")
        return self

    def _take(self, message: dict[str, Any]) -> None:
        if message.get("method") == "Network.requestWillBeSent":
            self.asked.append(message["params"]["request"]["url"])
        elif message.get("method") == "Log.entryAdded":
            self.refused.append(message["params"]["entry"]["text"])
        super()._take(message)

    def size(self, width: int, height: int, *, dark: bool = False) -> None:
        """Be a window, or a telephone, of that many pixels."""
        self.command(
            "Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=width < 600
        )
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self.command("Emulation.setEmulatedMedia", features=[scheme])

    def settled(self) -> None:
        """Wait until the page has drawn what it was asked for, or said why not."""
        main = "document.getElementById('main')"
        done = f"document.readyState === 'complete' && {main}?.getAttribute('aria-busy') === 'false'"
        wait_until(lambda: self.call(done), "the page is drawn", 20)
        self.call("new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))")

    def view(self, address: str) -> None:
        """Go to a view; another part behind # is no other page."""
        if self.call("location.origin + location.pathname") == address.partition("#")[0]:
            self.call(
                f"document.getElementById('main').setAttribute('aria-busy', 'true'), location.href = {address!r}, 0"
            )
        else:
            self.open(address)
        self.settled()

    def key(self, key: str) -> None:
        """Press and release a key."""
        more = {"windowsVirtualKeyCode": _KEYS[key]} if key in _KEYS else {"text": key}
        if key == "Enter":
            more["text"] = "\r"
        for kind in ("keyDown", "keyUp"):
            self.command("Input.dispatchKeyEvent", type=kind, key=key, **(more if kind == "keyDown" else {}))

    def cells(self, table: str) -> list[dict[str, str]]:
        """Return the rows of a table as texts by the title of the column; columns that are not shown are not there."""
        return list(
            self.call(
                f"[...document.querySelectorAll('#{table} tbody tr:not(.none)')].map((row) => Object.fromEntries("
                "[...row.children].filter((c) => getComputedStyle(c).display !== 'none')"
                ".map((c) => [c.dataset.label, c.innerText.replace(/\\s+/g, ' ').trim()])))"
            )
        )

    def picture(self, path: Path) -> None:
        """Write the whole page as a PNG."""
        path.parent.mkdir(parents=True, exist_ok=True)
        size = self.command("Page.getLayoutMetrics")["cssContentSize"]
        whole = {"x": 0, "y": 0, "width": size["width"], "height": size["height"], "scale": 1}
        found = self.command("Page.captureScreenshot", format="png", captureBeyondViewport=True, clip=whole)
        path.write_bytes(base64.b64decode(found["data"]))
