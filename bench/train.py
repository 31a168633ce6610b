"""Fit the forest of nf/naming/class_model.npz to generated flows of bench/behaviours.py.

python -m bench.train        takes a minute; needs scikit-learn (BSD-3-Clause, made with 1.9.1), which nothing else does
"""

from __future__ import annotations

import sys
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from bench import behaviours
from bench.behaviours import Flow
from nf.abi import SNF_GAP_MAX_US, SNF_GAP_TICK_US
from nf.naming.class_model import (
    CLASSES,
    FEATURES,
    FILE,
    LEAST_INTERVALS,
    LEAST_PACKETS,
    PATTERN,
    add_interval,
    features,
)

__all__ = ["TEST_SEED", "TRAIN_SEED", "patterns_of"]

TRAIN_SEED, TEST_SEED = 1, 2
PER_KIND = 700
TREES, LEAVES = 40, 96
LEAST = 0.55  # share of the trees from which a class is told
_TICK_S, _CUT_S, _GAP_MAX_S = SNF_GAP_TICK_US / 1e6, 1.0, SNF_GAP_MAX_US / 1e6  # gaps are cut
_IP_TCP, _IP_UDP = 52, 28


def _intervals(flow: Flow, length_s: float) -> tuple[NDArray[np.intp], NDArray[np.void]]:
    """Return (number of the interval, sums) of each interval with packets, as the kernel's columns have them."""
    which = (flow.at_s / length_s).astype(np.intp)
    used, row = np.unique(which, return_inverse=True)
    out = np.zeros(len(used), PATTERN)
    out["udp"], out["rtp"] = not flow.tcp, flow.rtp
    for side, mine in ((0, flow.up), (1, ~flow.up)):
        at, of, size = flow.at_s[mine], row[mine], flow.length[mine]
        octets = size + (_IP_TCP if flow.tcp else _IP_UDP)
        gap = np.minimum(np.diff(at, prepend=at[:1]), _CUT_S)
        out["octets"][:, side] = np.bincount(of, octets, len(used))
        out["packets"][:, side] = np.bincount(of, minlength=len(used))
        out["payload_packets"][:, side] = np.bincount(of, size > 0, len(used))
        first = np.zeros(len(at))
        first[:1] = 1
        out["gap_n"][:, side] = np.bincount(of, 1 - first, len(used))
        ticks = np.floor(gap / _TICK_S)
        out["gap_sum_s"][:, side] = np.bincount(of, ticks, len(used)) * _TICK_S
        out["gap_sq_s2"][:, side] = np.bincount(of, ticks**2, len(used)) * _TICK_S**2
        np.maximum.at(out["gap_max_s"][:, side], of, np.floor(gap / _GAP_MAX_S) * _GAP_MAX_S)
    return used, out


def patterns_of(flow: Flow, length_s: float, *, last_only: bool = False) -> NDArray[np.void]:
    """Return the patterns that `nf.naming.patterns` would judge of a flow, one each time it is due."""
    when, sums = _intervals(flow, length_s)
    pattern, due, out = np.zeros(1, PATTERN), LEAST_INTERVALS, []
    for at, row in zip(when.tolist(), sums, strict=True):
        pattern = add_interval(pattern, row[None], (at * length_s, (at + 1) * length_s))
        if pattern["intervals"][0] >= due and pattern["packets"].sum() >= LEAST_PACKETS:
            due = 2 * int(pattern["intervals"][0])
            out.append(pattern)
    return np.concatenate(out[-1:] if last_only else out) if out else np.zeros(0, PATTERN)


def generated(seed: int, per_kind: int) -> tuple[NDArray[np.void], NDArray[np.intp]]:
    """Return (patterns, class) of generated flows; class len(CLASSES) is none."""
    patterns, labels = [], []
    for number, kind in enumerate(behaviours.KINDS):
        rng = np.random.default_rng([seed, number])
        for _ in range(per_kind):
            length_s = float(rng.choice([1.0, 1.0, 1.0, 2.0, 5.0, 10.0]))
            found = patterns_of(behaviours.make(kind, rng, longest_s=60 if length_s < 5 else 120), length_s)
            patterns.append(found)
            labels += [number] * len(found)
    return np.concatenate(patterns), np.array(labels)


def _save(trees: Sequence[object], least: float) -> None:
    roots, columns, at, steps = [], [], 0, 0
    for tree in trees:
        t = tree.tree_  # type: ignore[attr-defined]
        leaf = t.children_left < 0
        itself = np.arange(t.node_count)
        children = np.stack([np.where(leaf, itself, t.children_left), np.where(leaf, itself, t.children_right)], axis=1)
        share = t.value[:, 0, :] / t.value[:, 0, :].sum(axis=1, keepdims=True)
        feature = np.where(leaf, -1, t.feature).astype(np.int8)
        columns.append((feature, np.where(leaf, np.inf, t.threshold).astype(np.float32), children + at,
                        np.rint(255 * share).astype(np.uint8)))  # fmt: skip
        roots.append(at)
        at += t.node_count
        steps = max(steps, t.max_depth)
    feature, threshold, children, share = (np.concatenate(c) for c in zip(*columns, strict=True))
    np.savez_compressed(
        FILE, roots=np.array(roots), feature=feature, threshold=threshold, children=children.astype(np.int32),
        share=share, steps=np.array(steps), least=np.array(least),
    )  # fmt: skip


def main() -> int:
    """Train, and write the file."""
    from sklearn.ensemble import ExtraTreesClassifier

    patterns, labels = generated(TRAIN_SEED, PER_KIND)
    x = features(patterns)
    weight = 1 / np.bincount(labels)[labels]
    forest = ExtraTreesClassifier(
        TREES, max_leaf_nodes=LEAVES, min_samples_leaf=4, max_features=8, bootstrap=True, random_state=1, n_jobs=1
    )
    forest.fit(x, labels, weight)
    assert list(forest.classes_) == list(range(len(CLASSES) + 1))
    _save(forest.estimators_, LEAST)
    order = np.argsort(-forest.feature_importances_)
    print(f"{len(x)} patterns of {len(behaviours.KINDS) * PER_KIND} flows; most telling:",
          ", ".join(FEATURES[i] for i in order[:8].tolist()), file=sys.stderr)  # fmt: skip
    return 0


if __name__ == "__main__":
    sys.exit(main())
