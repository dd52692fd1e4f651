"""One file per provider, all behind the small contract of ``contract.py``."""
