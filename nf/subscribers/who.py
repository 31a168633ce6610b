"""Subject of each flow: the session that the kernel found, one that signalling gave since, or a name for the unknown.

A flow without a session is named by the tunnel that it came in, or on N6 by its UE address; both under a pseudonym.
Each tunnel is looked up once an interval, however many flows it carries.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from nf.abi import FLOW_FIRST_B, SNF_UE_UNKNOWN
from nf.flows.batch import FlowBatch
from nf.flows.book import FlowBook
from nf.flows.search import distinct
from nf.kernel.rows import rows_at
from nf.sessions import BindingStore, is_of_ue
from nf.sessions.lines import is_line, tunnel_name
from nf.subscribers.labels import PLACES, Labels, SubscriberNames, Teller

__all__ = ["far_ends", "late_sessions", "subjects"]


def subjects(
    batch: FlowBatch,
    flows: NDArray[np.void],
    book: FlowBook,
    store: BindingStore,
    labels: Labels,
    teller: Teller,
    now_s: float,
) -> tuple[NDArray[np.int64], SubscriberNames]:
    """Return the dense number of each flow's subject, and the columns that name the subjects.

    *flows* (``struct flow``) has the rows of *batch*; *labels* are those that *teller* told.
    """
    session = batch.session.copy()
    nobody = np.flatnonzero(session == 0)
    tunnels = _Tunnels(book, batch.flow_id[nobody]) if len(nobody) else None
    if tunnels is not None:
        session[nobody] = tunnels.late_sessions(store, now_s)
    sessions, subject = distinct(session)
    names = labels.of(sessions, teller)
    still = session[nobody] == 0
    if tunnels is None or not still.any():
        return subject.astype(np.int64), names
    of_unknown, unknown = tunnels.names(rows_at(flows, nobody), still)
    subject[nobody[still]] = len(sessions) + of_unknown
    return subject.astype(np.int64), _and_unknown(names, labels.of_unknown(unknown, teller), labels)


def _and_unknown(names: SubscriberNames, unknown: list[str], labels: Labels) -> SubscriberNames:
    """Return *names* with those of *unknown* ones behind them."""
    n = len(unknown)
    number = labels.numbers(unknown, [""] * n)
    return SubscriberNames(
        np.concatenate([names.subscriber, np.array(unknown, object)]),
        np.concatenate([names.identity_source, np.full(n, "none", object)]),
        np.concatenate([names.dnn, np.full(n, "", object)]),
        np.concatenate([names.group, np.zeros(n, np.int64)]),
        np.concatenate([names.session, np.zeros(n, np.int64)]),
        number if names.number is None else np.concatenate([names.number, number]),
        *(np.concatenate([getattr(names, name), np.full(n, "", object)]) for name in PLACES),
    )


def late_sessions(numbers: NDArray[np.uint64], book: FlowBook, store: BindingStore, now_s: float) -> NDArray[np.uint32]:
    """Return the session of each flow without one whose tunnel is bound by now, else 0."""
    return _Tunnels(book, numbers).late_sessions(store, now_s)


def far_ends(numbers: NDArray[np.uint64], uplink_from_b: NDArray[np.bool_], book: FlowBook) -> NDArray[np.object_]:
    """Return where the tunnel of each flow leads to on the access side, "" where none was seen.

    That is who receives the downlink; where only the uplink was seen, who sends it.
    """
    outer, _ = book.tunnels(numbers)
    rows, uplink = np.arange(len(numbers)), uplink_from_b.astype(np.intp)
    down, up = outer[rows, 1 - uplink].astype(np.int64), outer[rows, uplink].astype(np.int64)
    ends, at = np.unique(np.where(down > 0, 2 * down + 1, 2 * up), return_inverse=True)  # odd: the receiver
    texts = (book.endpoint(end >> 1, end & 1) for end in ends.tolist())
    return np.array(["" if is_line(text) else text for text in texts], object)[at]


class _Tunnels:
    """The tunnels of some flows, each direction's latest, as numbers of distinct (endpoints, TEID)."""

    def __init__(self, book: FlowBook, numbers: NDArray[np.uint64]) -> None:
        self._book, self._numbers = book, numbers
        outer, teid = book.tunnels(numbers)
        which = outer.astype(np.uint64) << np.uint64(32) | teid
        distinct, at = np.unique(which, return_inverse=True)
        self._of_flow = at.reshape(which.shape)  # (n, 2)
        self._exists = outer > 0
        self._receivers = [
            (book.endpoint(int(tunnel >> np.uint64(32)), 1), int(tunnel & np.uint64(0xFFFF_FFFF)))
            for tunnel in distinct
        ]

    def late_sessions(self, store: BindingStore, now_s: float) -> NDArray[np.uint32]:
        """Return the session of each flow whose tunnel is bound by now, else 0."""
        found = store.by_tunnels(self._receivers, now_s)
        bound = np.array([binding is not None for binding in found], np.bool_)
        session = np.zeros(len(self._numbers), np.uint32)
        for direction in (0, 1):
            rows = self._exists[:, direction] & (session == 0)
            if len(bound):
                rows &= bound[self._of_flow[:, direction]]
            for i in np.flatnonzero(rows).tolist():  # once a flow: the kernel knows the session from its next packet on
                binding = found[self._of_flow[i, direction]]
                if binding is not None and is_of_ue(binding.session, self._book.ends(int(self._numbers[i]))):
                    session[i] = binding.index
        return session

    def names(self, flows: NDArray[np.void], wanted: NDArray[np.bool_]) -> tuple[NDArray[np.int64], list[str]]:
        """Return the index of each *wanted* flow's name, and the names.

        A flow is named by its uplink tunnel, else by the other one. Outside of tunnels it is named by the tunnel of
        its UE, if a flow of the same interval shows that, else by its UE address; the end that spoke first is then
        taken for the UE.
        """
        flows, exists, numbers = flows[wanted], self._exists[wanted], self._numbers[wanted]
        is_told = flows["ue_end"] < SNF_UE_UNKNOWN
        end = np.where(is_told, flows["ue_end"], flows["flags"] & FLOW_FIRST_B > 0).astype(np.intp)
        rows = np.arange(len(flows))
        uplink = np.where(is_told, end, 0)
        direction = np.where(exists[rows, uplink], uplink, 1 - uplink)
        plain = ~exists[rows, direction]
        ue = self._book.addresses(numbers, end)
        number = np.where(plain, -1, self._of_flow[wanted][rows, direction])
        told = is_told & ~plain
        for of_end in (0, 1):
            other = np.flatnonzero(plain & (number < 0))
            number[other] = _tunnel_of(
                ue[told], number[told], self._book.addresses(numbers[other], np.full(len(other), of_end))
            )
        plain = number < 0
        addresses, at = np.unique(ue[plain], return_inverse=True)
        names = [tunnel_name(address, teid) for address, teid in self._receivers]
        number[plain] = len(names) + at
        names += [f"ue::{self._book.text(address)}" for address in addresses]
        used, number = np.unique(number, return_inverse=True)
        return number.astype(np.int64), [names[i] for i in used.tolist()]


def _tunnel_of(ue: NDArray[np.void], tunnel: NDArray[np.intp], wanted: NDArray[np.void]) -> NDArray[np.intp]:
    """Return the *tunnel* of the first of *ue* that equals each *wanted* address, -1 where none does."""
    _, first, code = np.unique(np.concatenate([ue, wanted]), return_index=True, return_inverse=True)
    first = first[code[len(ue) :]]
    found = np.full(len(wanted), -1, np.intp)
    known = first < len(ue)
    found[known] = tunnel[first[known]]
    return found
