"""Access control (RFC 8341): the rules as values, what they say of a request, and the places where that is asked."""
