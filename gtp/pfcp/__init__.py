"""PFCP (TS 29.244): the messages between SMF and UPF that tell the subscriber of each tunnel."""
