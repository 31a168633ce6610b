"""The NETCONF server: datastores, operations and transport; `rpc` answers, `ssh_listener` lets connections in."""
