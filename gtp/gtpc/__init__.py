"""GTP for the control plane: GTPv2-C (TS 29.274) and GTPv1-C (TS 29.060)."""
