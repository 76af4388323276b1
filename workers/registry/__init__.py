"""The registry: the connected users over all workers and machines, and the banned and muted users."""

from workers.registry.registry import AuditEntry, Carried, Registry
from workers.registry.sanctions import Sanction, Sanctions

__all__ = ["AuditEntry", "Carried", "Registry", "Sanction", "Sanctions"]
