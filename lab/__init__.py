"""A mobile network on one machine: gNB, UPF, SMF and data network as network namespaces, with real clients.

Nothing here is part of the function; the demonstration and the live tests run on it. It needs root.
"""
