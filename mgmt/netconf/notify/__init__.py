"""Notifications: the stream of events and its log, subscriptions to it, and the one thread that serves them."""
