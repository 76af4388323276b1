"""The registry: who is connected, over all workers and machines, and who is banned or muted."""

from workers.registry.registry import Carried, Deed, Registry
from workers.registry.sanctions import Sanction, Sanctions

__all__ = ["Carried", "Deed", "Registry", "Sanction", "Sanctions"]
