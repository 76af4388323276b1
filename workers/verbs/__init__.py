"""The verbs: what a program outside may do with a running server, one table for every door."""
