"""Compiled passes over columns: one C file beside its references in numpy.

    nf/flows/search.py ──────── at ───────┐                    ┌─ search.h ─┐
    nf/flows/search.py ──────── distinct ─┤                    │            │
    nf/subscribers/sums.py ──── group ────┤                    ├─ group.h ──┤
    nf/subscribers/fading.py ── memory ───┼─ `library.loaded` ─┼─ memory.h ─┼─ columns.c ── bpf/abi.h
    nf/flows/deltas.py ──────── update ───┘                    └─ differences.h

| pass | C | Python that calls it | reference in numpy |
|---|---|---|---|
| places of keys in a sorted column | `search.h` | `search.py` | `reference` of `nf/flows/search.py` |
| numbers of distinct keys | `group.h` | `group.py` | `distinct` of `nf/flows/search.py` |
| flows to rows by (subscriber, application) | `group.h` | `group.py` | `reference` of `nf/subscribers/sums.py` |
| two states of a flow to what it did | `differences.h` | `differences.py` | `reference` of `nf/flows/deltas.py` |
| what a key is remembered by | `memory.h` | `memory.py` | `Remembered` of `nf/subscribers/fading.py` |

Who needs a result calls neither of the two, but `at`, `distinct`, `group` or `memory` of the room: they ask `loaded`
for the library, and take the reference where there is none. The results are equal to the last bit (tests/fast, `make
fuzz`).

`make setup` builds ``columns.so`` beside the C file, with the C compiler that it installs; a package builds it with
``python3 -m nf.fast.build``. It is loaded by ctypes and knows nothing of Python, so any Python takes it. A build
carries the hash of the text that it was made of, `bpf/abi.h` and its parts among it: a build of another text is
refused, and the references run. They are right, and several times slower, so `snf doctor` says which of the two runs.

SNF_FAST says otherwise: ``numpy`` takes the references, a path takes that build, as `make fuzz` does with sanitizers.

A pass gets arrays and gives arrays, has no state, allocates nothing, and calls nothing: its worst is a wrong index, so
the sizes that it relies on are checked where it is called, in Python. A new one is a header here, its names declared by
`face.h`, and its reference in the room that it serves.
"""
