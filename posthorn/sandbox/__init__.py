"""A local stand-in for both providers, over real HTTP, with faults and a truth to compare with."""
