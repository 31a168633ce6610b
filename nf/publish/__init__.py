"""Publication over ZeroMQ, which only this package and `feed` import."""

from nf.publish.publisher import Publisher

__all__ = ["Publisher"]
