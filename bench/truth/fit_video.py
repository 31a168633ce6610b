"""Fits the forest of levels and writes nf/qoe/video/levels.npz; `--held-out` prints the figures of a hold-out by video.

python -m bench.truth.fit_video. It needs scikit-learn, which is no dependency of the project.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bench.truth.sessions import LEVELS, Session, labelled, sessions
from nf.qoe.video import levels

__all__ = ["HELD_OUT", "MOMENTS_S", "held_out", "known", "rows_at"]

MOMENTS_S = (60.0, 120.0, 300.0, 700.0)  # a session is learned as it stood after so long
FORESTS = {"early": ((0, 1, 2, 3), 2), "late": ((1, 2, 3), 1)}  # moments that each learns from, sessions in a leaf
_FILE = Path(levels.__file__).with_name("levels.npz")
HELD_OUT = Path(__file__).with_name("levels_held_out.npz")


def rows_at(some: tuple[Session, ...], seconds: float) -> NDArray[np.void]:
    """Return the rows of state of *some* sessions *seconds* after their first request, (n,)."""
    state = np.zeros(len(some), np.dtype(levels.SIZES))
    for i, session in enumerate(some):
        begin = session.chunks[0, 0]
        done = session.chunks[session.chunks[:, 2] <= begin + seconds]
        state["first_s"][i], state["last_s"][i] = begin + 1, min(seconds, session.chunks[-1, 2] - begin) + begin + 1
        for octets in done[:, 3]:
            levels.observe(state, np.array([i]), np.array([octets]))
    return state


def known() -> tuple[Session, ...]:
    """Return all sessions with a level, those with rows of 100 ms only once."""
    names = {session.name for session in sessions()}
    return sessions() + tuple(s for s in labelled() if s.name not in names)


def _grown(x: NDArray[np.float64], y: NDArray[np.intp], trees: int, leaf: int) -> Any:
    try:
        from sklearn.ensemble import ExtraTreesClassifier
    except ImportError:
        sys.exit("scikit-learn is not here: pip install scikit-learn into the environment, then fit again")
    grown = ExtraTreesClassifier(trees, min_samples_leaf=leaf, max_features=0.4, random_state=1, n_jobs=1)
    return grown.fit(x.astype(np.float32), y)


def held_out(trees: int = 80) -> dict[str, NDArray[np.float64]]:
    """Return votes (moments, sessions, 6) of forests that never saw the session's video."""
    some = known()
    x = [levels.features(rows_at(some, seconds)) for seconds in MOMENTS_S]
    level, video = np.array([s.level for s in some]), np.array([s.video for s in some])
    votes = np.zeros((len(MOMENTS_S), len(some), len(LEVELS)))
    for one in np.unique(video):
        out = video == one
        for name, (moments, leaf) in FORESTS.items():
            forest = _grown(np.vstack([x[k][~out] for k in moments]), np.tile(level[~out], len(moments)), trees, leaf)
            for k in [k for k, seconds in enumerate(MOMENTS_S) if (seconds < levels.EARLY_S) == (name == "early")]:
                votes[k][np.ix_(np.flatnonzero(out), forest.classes_)] = forest.predict_proba(x[k][out])
    return {"votes": votes, "level": level.astype(float), "video": video.astype(float)}


def _arrays(forest: Any) -> dict[str, NDArray[np.generic]]:
    """Return the trees as padded arrays; a leaf is its own child."""
    most = max(tree.tree_.node_count for tree in forest.estimators_)
    shape = (len(forest.estimators_), most)
    out = {
        "feature": np.zeros(shape, np.uint8),
        "threshold": np.zeros(shape, np.float32),
        "left": np.zeros(shape, np.uint16),
        "right": np.zeros(shape, np.uint16),
        "votes": np.zeros((*shape, len(LEVELS)), np.uint8),
        "depth": np.array(max(tree.get_depth() for tree in forest.estimators_)),
    }
    for i, estimator in enumerate(forest.estimators_):
        tree = estimator.tree_
        own = np.arange(tree.node_count)
        leaf = tree.children_left < 0
        out["feature"][i, own] = np.where(leaf, 0, tree.feature)
        out["threshold"][i, own] = tree.threshold
        out["left"][i, own] = np.where(leaf, own, tree.children_left)
        out["right"][i, own] = np.where(leaf, own, tree.children_right)
        value = tree.value[:, 0, :]
        shares = value / value.sum(axis=1, keepdims=True)
        out["votes"][i, : tree.node_count, forest.classes_] = np.round(255 * shares).T
    return out


def main() -> None:
    """Fit on everything and write the product's file; the held-out votes go beside the bench."""
    some = known()
    x = [levels.features(rows_at(some, seconds)) for seconds in MOMENTS_S]
    arrays = {}
    for name, (moments, leaf) in FORESTS.items():
        y = np.tile([s.level for s in some], len(moments))
        for part, array in _arrays(_grown(np.vstack([x[k] for k in moments]), y, 60, leaf)).items():
            arrays[f"{name}_{part}"] = array
    np.savez_compressed(_FILE, **arrays)  # type: ignore[arg-type]
    found = held_out()
    np.savez_compressed(HELD_OUT, votes=found["votes"].astype(np.float32))
    for k, seconds in enumerate(MOMENTS_S):
        told, level = found["votes"][k].argmax(1), found["level"]
        recall = [round(float((told[level == i] == i).mean()), 2) for i in range(len(LEVELS))]
        print(seconds, round(float((told == level).mean()), 3), recall)
        first = slice(0, len(sessions()))
        recall = [round(float((told[first][level[first] == i] == i).mean()), 2) for i in range(len(LEVELS))]
        print("   with requests only", round(float((told[first] == level[first]).mean()), 3), recall)
    print(_FILE.stat().st_size, "bytes")


if __name__ == "__main__":
    main()
