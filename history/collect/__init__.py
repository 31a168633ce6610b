"""The collector: what functions publish becomes closed files, and old files become sums, larger files and nothing.

    sequences.py   what of each topic came, and what did not
    intake.py      messages to rows of tables, which wait
    ledger.py      what is written for good, at one point: a state file that is replaced as a whole
    writing.py     rows that wait to files, all of them or none; a full disk
    rolling.py     records to facts, minutes and buckets
    upkeep.py      merging, rolling, keeping; each step can be broken off at any moment and is done again
    erasing.py     one subscriber out of all files
    collector.py   the loop over all of that
    settings.py    what can be set, a lock, keys

Decisions and figures: docs/history.md.
"""

import os

# Read when pyarrow is loaded. Its own allocator keeps what was freed, some 50 MB after each roll-up; that of the system
# gives it back when it is told to (`release_unused`), with what numpy freed.
os.environ.setdefault("ARROW_DEFAULT_MEMORY_POOL", "system")
