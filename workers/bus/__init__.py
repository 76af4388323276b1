"""The bus: carries messages between workers and keeps them. `port.py` is the contract."""
