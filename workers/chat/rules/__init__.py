"""The chat's rules: pure, without clock, chance or I/O."""
