"""Leases of worker incarnations over all machines."""
