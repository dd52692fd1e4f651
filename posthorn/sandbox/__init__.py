"""A local stand-in for both providers, over real HTTP, with faults and a record of what really happened."""
