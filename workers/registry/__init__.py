"""The registry: who is connected, over all workers and machines, and who is banned or muted."""

from workers.registry.registry import AuditEntry, Carried, Registry
from workers.registry.sanctions import Sanction, Sanctions

__all__ = ["AuditEntry", "Carried", "Registry", "Sanction", "Sanctions"]
