"""http: what the WebSocket port answers to plain HTTP: the page, health, readiness and metrics."""
