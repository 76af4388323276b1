"""Everything that runs in the operator's shell."""
