"""The group of subscribers of a session: a number, by which the kernel finds the policies of its traffic."""

from __future__ import annotations

from collections.abc import Sequence

from nf.settings import SubscriberGroup

__all__ = ["group_of"]


def group_of(dnn: str, imsi: str, groups: Sequence[SubscriberGroup]) -> int:
    """Return the number of the first group that a session fits, counted from 1; 0 when it fits none.

    The session is one of *imsi* in the data network *dnn*. It fits a group that names its data network, if the
    group names any, and the beginning of its IMSI, if the group names any.
    """
    for number, group in enumerate(groups, 1):
        if group.dnns and dnn not in group.dnns:
            continue
        if group.imsi_prefixes and not imsi.startswith(group.imsi_prefixes):
            continue
        return number
    return 0
