"""The adapter of the bus for a Redis Cluster: each node takes the commands and subscriptions of its shards."""
