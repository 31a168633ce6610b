"""NETCONF over SSH. ``listener`` lets connections in, ``auth`` says who may, ``session`` speaks with one."""

from mgmt.server.listener import NetconfServer, ServerLimits

__all__ = ["NetconfServer", "ServerLimits"]
