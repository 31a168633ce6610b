"""The lab of truth: traffic of real players, calls, pages and games at the emulated N3, with the client's own account.

    python -m lab.truth video --seed 3 --out DIR        one set
    python -m lab.truth make fit --out DIR              all sets of a list of `sets.toml`

A set is a folder: ``n3.pcap``, ``n4.pcap`` and ``n6.pcap`` as a probe at the UPF sees them, media payload cut off;
``truth.json``, the client's account with times since the epoch; ``conditions.json``, the seed, all that was chosen
from it, the impairments with the times at which they were set, and the load of the host. A set that was made while
the host was short of time says ``void``. Truth of the lab proves an estimator, not a real application; every figure
that is drawn from it says so.
"""
