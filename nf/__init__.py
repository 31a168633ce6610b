"""The network function: kernel programs, sessions, applications, QoE, publication."""
