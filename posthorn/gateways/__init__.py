"""One package per provider, all behind the small contract of ``contract.py``."""
