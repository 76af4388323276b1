"""workers: the process that does nothing but serve. The public API is `Worker`, `Connection`, `Timer`, `Gateway`."""
