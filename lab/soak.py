"""Signalling at a rate through trackers and binding store, judged against the truth: nobody under another's name.

python -m lab.soak --seconds 600 --rate-hz 2000 --loss 0.05 --jitter-s 0.005 --restarts 2
"""

from __future__ import annotations

import argparse
import resource
import sys
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field

from lab.signalling import DNN, Network, Plan
from nf.sessions import BindingStore
from nf.signalling.trackers import Signalling

__all__ = ["Verdict", "judge", "soak"]


@dataclass(slots=True)
class Verdict:
    """Outcome of a run. Tunnels and UE addresses of the truth are *right*, *absent* or *wrong*; *stale* are bindings
    of nobody who is there."""

    right: int = 0
    absent: int = 0
    wrong: int = 0
    stale: int = 0
    unsure: int = 0
    events: int = 0
    messages: int = 0
    busy_s: float = 0.0
    memory_mb: list[float] = field(default_factory=list)  # now and then
    counters: Counter[str] = field(default_factory=Counter)


def judge(store: BindingStore, network: Network) -> Verdict:
    """Compare every tunnel and UE address in use with the subscriber that the store gives for it."""
    verdict = Verdict(unsure=len(network.unsure))
    for s in network.live.values():
        found = [store.by_tunnel(*tunnel) for tunnel in s.tunnels]
        for binding in (*found, store.by_ue(DNN, s.ue)):
            imsi = binding.whole.identity.imsi if binding else ""
            verdict.right += imsi == s.imsi
            verdict.absent += not imsi
            verdict.wrong += imsi not in ("", s.imsi)
    known = {s.imsi for s in (*network.live.values(), *network.unsure)}
    verdict.stale = sum(b.session.identity.imsi not in known for b in store.history() if b.last_s is None)
    return verdict


def soak(plan: Plan, looks: int = 20, look: Callable[[float, int, float], None] = lambda *_: None) -> Verdict:
    """Run *plan* and judge its end; *looks* samples of the memory are taken on the way.

    *look* is told at each: seconds of the plan that are done, messages so far, and memory in MB.
    """
    network, signalling = Network(plan), Signalling()
    store = BindingStore(2 * plan.sessions, history=0)
    events = messages = 0
    memory: list[float] = []
    step = plan.seconds / looks
    due, busy_s = step, 0.0
    for at_s, datagram in network.mirrored():
        began = time.thread_time()
        for event in signalling.feed(datagram, at_s):
            store.apply(event)
            events += 1
        busy_s += time.thread_time() - began
        messages += 1
        if at_s >= due:
            due += step
            store.expire(at_s)
            memory.append(_resident_mb())
            look(at_s, messages, memory[-1])
    verdict = judge(store, network)
    verdict.events, verdict.messages, verdict.busy_s, verdict.memory_mb = events, messages, busy_s, memory
    verdict.counters = signalling.counters + store.counters
    return verdict


def _resident_mb() -> float:
    with open("/proc/self/statm") as statm:
        return int(statm.read().split()[1]) * resource.getpagesize() / 2**20


def _main() -> None:
    parser = argparse.ArgumentParser(prog="python -m lab.soak", description="Judge bindings under much signalling.")
    defaults = Plan(sessions=100_000, rate_hz=2000, seconds=600, loss=0.05, jitter_s=0.005, restarts=2)
    for name in ("sessions", "rate_hz", "seconds", "handovers", "loss", "blind", "jitter_s", "restarts", "seed"):
        default = getattr(defaults, name)
        parser.add_argument(f"--{name.replace('_', '-')}", type=type(default), default=default)
    parser.add_argument("--fourth", action="store_true", help="4G: PFCP without identity, S11 with it")
    plan = Plan(**vars(parser.parse_args()))

    def look(at_s: float, messages: int, megabytes: float) -> None:
        print(f"{at_s:.0f} of {plan.seconds} s: {messages} messages, {megabytes:.0f} MB", flush=True)

    v = soak(plan, look=look)
    print(f"right {v.right}  absent {v.absent}  wrong {v.wrong}  stale {v.stale}  unsure {v.unsure}")
    each_us = v.busy_s / max(v.messages, 1) * 1e6
    load = v.busy_s / plan.seconds
    print(f"{v.messages} messages, {v.events} events, {each_us:.0f} us of CPU a message, {load:.0%} of one core")
    print("memory, MB: " + " ".join(f"{m:.0f}" for m in v.memory_mb))
    for name, number in sorted(v.counters.items()):
        print(f"  {name} {number}")
    sys.exit(1 if v.wrong else 0)


if __name__ == "__main__":
    _main()
