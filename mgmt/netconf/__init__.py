"""The NETCONF server: `rpc` answers by the table of `operations`, on `store` and `model`; `ssh` lets connections in."""
