"""What the chat keeps in the store beside the logs: a class for each kind of record; `ChatStore` has them all."""

from workers.chat.store.chat_store import ChatStore

__all__ = ["ChatStore"]
