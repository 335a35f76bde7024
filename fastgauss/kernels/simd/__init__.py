"""Instructions: lanes, masks, prefetch, memory on the stack."""
