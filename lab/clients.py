"""The applications on one UE: real clients on the UE's own stack, each writing down what its user got.

    python -m lab.clients --netns PATH --name ue1 --address IP --uses video,chat --ca PEM --truth FILE \
        --measured FILE --seed N

Truth is JSON lines: time, UE, kind, class, and the client's own measurements (stalls of the player, page load
time, lag, packets of a call). A client whose connection breaks writes so into its truth and tries again. The round
trips of its connections, as the kernel measured them, are in a file of their own (`lab.tcpinfo`).
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import random
import signal
import ssl
import struct
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from functools import partial
from pathlib import Path
from typing import IO, Any

import dns.asyncquery
import dns.message
import dns.rdatatype

from lab import player
from lab.net import child_of_the_lab
from lab.plan import DNS, SERVICES, Service
from lab.rtp import GAME_PORT, RTP_PORT, TICK_S, Listener, Talker
from lab.tcpinfo import EVERY_S, Readings

__all__ = ["KINDS", "Https", "Ue", "main"]


class Https:
    """One HTTPS/1.1 connection that is kept."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, name: str) -> None:
        self._reader, self._writer, self._name = reader, writer, name

    async def get(self, path: str) -> bytes:
        """Return the body."""
        return await self._ask(f"GET {path} HTTP/1.1\r\nhost: {self._name}\r\n\r\n".encode())

    async def post(self, path: str, body: bytes) -> bytes:
        """Send a body and return the answer's."""
        head = f"POST {path} HTTP/1.1\r\nhost: {self._name}\r\ncontent-length: {len(body)}\r\n\r\n"
        return await self._ask(head.encode() + body)

    async def _ask(self, request: bytes) -> bytes:
        self._writer.write(request)
        await self._writer.drain()
        head = (await self._reader.readuntil(b"\r\n\r\n")).decode("latin-1").lower()
        length = int(head.partition("content-length:")[2].split("\r\n")[0])
        return await self._reader.readexactly(length)


class Ue:
    """Things that all applications of a UE share: the resolver, the trust, the truth file, the kernel's readings."""

    def __init__(self, name: str, address: str, ca: str, truth: IO[str], readings: Readings, seed: int) -> None:
        self.name, self.address, self.ca, self.readings = name, address, ca, readings
        self.random = random.Random(f"{seed}/{name}")
        self.steady = False  # all pages and messages alike, for comparisons of one moment with another
        self.reading = asyncio.Lock()  # the user loads and reads one page at a time, of whichever site
        self._truth = truth
        self._tls = ssl.create_default_context(cafile=ca)
        self._tls.set_alpn_protocols(["http/1.1"])
        self._cache: dict[str, tuple[float, str]] = {}

    def size(self, least: int, beyond: int) -> int:
        """Return a number of bytes of what is loaded next."""
        return least if self.steady else self.random.randrange(least, beyond)

    def pause(self, least_s: float, most_s: float) -> float:
        """Return a time until the user does the next thing."""
        return most_s if self.steady else self.random.uniform(least_s, most_s)

    def say(self, service: Service, **what: Any) -> None:
        """Write one line of truth."""
        line = {"t": round(time.time(), 3), "ue": self.name, "kind": service.kind, "class": service.app_class, **what}
        self._truth.write(json.dumps(line) + "\n")
        self._truth.flush()

    async def resolve(self, name: str) -> str:
        """Ask the lab's DNS for an IPv4 address, and respect its TTL."""
        until, address = self._cache.get(name, (0.0, ""))
        if time.monotonic() < until:
            return address
        for wait in (1, 2, 4):
            with contextlib.suppress(dns.exception.Timeout):
                answer = await dns.asyncquery.udp(dns.message.make_query(name, dns.rdatatype.A), DNS, timeout=wait)
                record = answer.answer[0]
                address = str(record[0].to_text())
                self._cache[name] = time.monotonic() + record.ttl, address
                return address
        raise OSError(f"{name} does not resolve")

    @contextlib.asynccontextmanager
    async def https(self, name: str) -> AsyncIterator[Https]:
        """Open a TLS connection to a name."""
        address = await self.resolve(name)
        reader, writer = await asyncio.wait_for(
            asyncio.open_connection(address, 443, ssl=self._tls, server_hostname=name, limit=1 << 20), 15
        )
        try:
            with self.readings.of(writer.get_extra_info("socket")):
                yield Https(reader, writer, name)
        finally:
            writer.transport.abort()


async def _video(ue: Ue, service: Service) -> None:
    media, site = service.names
    async with ue.https(site) as page:
        await page.get("/bytes/40000")
    live = service.app_class == "live-video"
    shape = player.LIVE if live else player.ON_DEMAND
    async with ue.https(media) as connection:
        await player.play(connection.get, shape, lambda **what: ue.say(service, **what))


async def _web(ue: Ue, service: Service) -> None:
    async with ue.reading:
        await _page(ue, service)
        await asyncio.sleep(ue.pause(1.5, 3.0))


async def _page(ue: Ue, service: Service) -> None:
    site, media = service.names
    start = time.monotonic()
    async with ue.https(site) as page:
        await page.get(f"/bytes/{ue.size(40_000, 90_000)}")

        async def part() -> None:
            async with ue.https(media) as connection:
                for _ in range(2):
                    await connection.get(f"/bytes/{ue.size(20_000, 120_000)}")

        await asyncio.gather(*(part() for _ in range(3)))
    ue.say(service, page_load_ms=round((time.monotonic() - start) * 1000, 1))


async def _web3(ue: Ue, service: Service) -> None:
    async with ue.reading:
        await _page3(ue, service)
        await asyncio.sleep(ue.pause(1.5, 3.0))


async def _page3(ue: Ue, service: Service) -> None:
    from lab.http3 import fetch

    address = await ue.resolve(service.names[0])
    start = time.monotonic()
    sizes = [ue.size(20_000, 120_000) for _ in range(5)]
    await fetch(address, service.names[0], [f"/bytes/{n}" for n in sizes], ue.ca, partial(ue.readings.add, "quic"))
    ue.say(service, page_load_ms=round((time.monotonic() - start) * 1000, 1), bytes=sum(sizes))


async def _social(ue: Ue, service: Service) -> None:
    feed, media = service.names
    async with ue.https(feed) as api, ue.https(media) as pictures:
        for _ in range(20):
            start = time.monotonic()
            await api.get("/bytes/12000")
            await pictures.get(f"/bytes/{ue.size(60_000, 200_000)}")
            ue.say(service, post_ms=round((time.monotonic() - start) * 1000, 1))
            await asyncio.sleep(ue.pause(0.8, 2.0))


async def _chat(ue: Ue, service: Service) -> None:
    async with ue.https(service.names[0]) as connection:
        while True:
            start = time.monotonic()
            await connection.post(f"/bytes/{ue.size(60, 400)}", bytes(ue.size(80, 600)))
            ue.say(service, answer_ms=round((time.monotonic() - start) * 1000, 1))
            await asyncio.sleep(ue.pause(0.3, 1.0))


async def _download(ue: Ue, service: Service) -> None:
    async with ue.https(service.names[0]) as connection:
        while True:
            start, size = time.monotonic(), 1_000_000
            await connection.get(f"/bytes/{size}")
            ue.say(service, bps=round(size * 8 / (time.monotonic() - start)))
            await asyncio.sleep(0.5)


async def _call(ue: Ue, service: Service) -> None:
    from lab import call

    async with ue.https(service.names[0]) as connection:
        peer, offered = await call.offer(ue.address)
        try:
            body = json.dumps(offered).encode()
            await call.joined(peer, json.loads(await connection.post("/offer", body)))
            while peer.connectionState not in ("failed", "closed"):
                await asyncio.sleep(2)
                ue.say(service, state=peer.connectionState, received=await call.received(peer))
        finally:
            await peer.close()


class _Queue(asyncio.DatagramProtocol):
    """Datagrams with their time of arrival."""

    def __init__(self, take: Callable[[bytes, float], None]) -> None:
        self._take = take

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        """Hand over a datagram."""
        self._take(data, time.monotonic())


@contextlib.asynccontextmanager
async def _datagrams(
    address: str, port: int, take: Callable[[bytes, float], None]
) -> AsyncIterator[asyncio.DatagramTransport]:
    transport, _ = await asyncio.get_running_loop().create_datagram_endpoint(
        lambda: _Queue(take), remote_addr=(address, port)
    )
    try:
        yield transport
    finally:
        transport.close()


async def _voice(ue: Ue, service: Service) -> None:
    address = await ue.resolve(service.names[0])
    ear, talker = Listener(), Talker(ssrc=ue.random.getrandbits(32))

    def take(packet: bytes, now_s: float) -> None:
        ear.feed(packet, now_s)
        talker.hears(packet)

    async with _datagrams(address, RTP_PORT, take) as transport:
        async for packet in talker.packets():
            transport.sendto(packet)
            if talker.sent % 100 == 99:
                ue.say(service, expected=ear.expected(), received=ear.received, jitter_ms=round(ear.jitter_ms, 2))
            if talker.sent >= 50 * 60:
                return


async def _game(ue: Ue, service: Service) -> None:
    address = await ue.resolve(service.names[0])
    lags: list[float] = []

    def take(data: bytes, now_s: float) -> None:
        if data[12:16] == b"WRLD":
            lags.append((now_s - struct.unpack_from("!d", data, 4)[0]) * 1000)

    async with _datagrams(address, GAME_PORT, take) as transport:
        start = time.monotonic()
        for n in range(30 * 60):
            transport.sendto(struct.pack("!Id", n, time.monotonic()) + b"TICK" + bytes(40))
            if n % 60 == 59:
                ue.say(service, ticks=len(lags), lag_ms=round(sum(lags) / len(lags), 1) if lags else None)
                lags.clear()
            await asyncio.sleep(max(0.0, start + (n + 1) * TICK_S - time.monotonic()))


KINDS: dict[str, Callable[[Ue, Service], Awaitable[None]]] = {
    "video": _video,
    "movie": _video,
    "live": _video,
    "call": _call,
    "voice": _voice,
    "game": _game,
    "social": _social,
    "chat": _chat,
    "web": _web,
    "web3": _web3,
    "download": _download,
}


async def _forever(ue: Ue, service: Service) -> None:
    while True:
        try:
            await KINDS[service.kind](ue, service)
        except (OSError, EOFError, asyncio.IncompleteReadError, TimeoutError, ConnectionError) as error:
            ue.say(service, error=type(error).__name__)
            await asyncio.sleep(1)


async def _measure(readings: Readings) -> None:
    while True:
        begun = time.monotonic()
        await asyncio.sleep(EVERY_S)
        readings.waited((time.monotonic() - begun - EVERY_S) * 1000)
        readings.take()


async def _use(ue: Ue, kinds: list[str]) -> None:
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    tasks = [asyncio.create_task(_forever(ue, SERVICES[kind])) for kind in kinds]
    tasks.append(asyncio.create_task(_measure(ue.readings)))
    for task in tasks:
        task.add_done_callback(lambda _: stop.set())  # an application that ended is a defect of the lab
    await stop.wait()
    broken = [e for e in (t.exception() for t in tasks if t.done() and not t.cancelled()) if e]
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    if broken:
        raise broken[0]


def main() -> None:
    """Run until SIGTERM."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    for option in ("--netns", "--name", "--address", "--uses", "--ca", "--truth", "--measured"):
        parser.add_argument(option, required=True)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--steady", action="store_true", help="load pages of one size, and pause for one time")
    args = parser.parse_args()
    child_of_the_lab(args.netns)
    with open(args.truth, "w", encoding="utf-8") as truth, Readings(Path(args.measured)) as readings:
        ue = Ue(args.name, args.address, args.ca, truth, readings, args.seed)
        ue.steady = args.steady
        asyncio.run(_use(ue, args.uses.split(",")))


if __name__ == "__main__":
    main()
