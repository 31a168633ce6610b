"""Publication over ZeroMQ: the only package that imports it."""

from nf.publish.publisher import Publisher

__all__ = ["Publisher"]
