"""PFCP (TS 29.244): the messages between SMF and UPF that say who a tunnel belongs to."""
