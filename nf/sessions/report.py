"""Sessions as rows, for ``snf replay --sessions``. These rows hold the IMSI: they are only for the user who asks."""

from __future__ import annotations

from typing import Any

from nf.sessions.store import BindingStore

__all__ = ["COLUMNS", "sessions_rows"]

COLUMNS = ("imsi", "msin", "ue_ipv4", "ue_ipv6", "dnn", "snssai", "teids", "source", "first_s", "last_s", "ended_by")


def sessions_rows(store: BindingStore) -> list[dict[str, Any]]:
    """Return a row for each past or present session, by its begin; ``teids`` are all that it ever held."""
    rows = [
        {
            "imsi": (whole := b.whole).identity.imsi,
            "msin": whole.identity.msin,  # of a subscriber whose IMSI is not known
            "ue_ipv4": whole.ue_ipv4,
            "ue_ipv6": whole.ue_ipv6,
            "dnn": whole.dnn,
            "snssai": whole.snssai,
            "teids": " ".join(dict.fromkeys(str(t) for t in b.held)),
            "source": whole.source,
            "first_s": f"{b.first_s:.6f}",
            "last_s": f"{b.last_s:.6f}" if b.last_s is not None else "",
            "ended_by": b.ended_by,
        }
        for b in store.history()
    ]
    return sorted(rows, key=lambda r: float(str(r["first_s"])))
