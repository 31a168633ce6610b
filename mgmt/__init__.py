"""The management plane: NETCONF on the outside, `nf.settings` on the inside."""
