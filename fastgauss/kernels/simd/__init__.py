"""Instructions: lanes, masks, prefetch, stack memory."""
