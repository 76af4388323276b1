"""Transport: bytes to messages and back, for connections that speak WebSocket or plain HTTP on one port."""
