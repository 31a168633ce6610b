"""Metrics for Prometheus: sums over subscribers by application, gNB and slice, and the state of functions.

    series.py     what came, added up, with a bound on the number of series
    exporter.py   these as metrics, and the place where they are read

No series is of a subscriber. Names, bounds and alerts: docs/metrics.md.
"""
