"""Web Push (RFC 8030): the server's key, messages that only the browser can read, and the way to a push service."""
