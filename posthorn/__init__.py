"""Posthorn delivers MMS campaigns and barcode tickets; this package is the plain Python under the Prefect flows.

Nothing here imports Prefect, except the one CLI file that starts a flow.
"""

__version__ = "0.1.0"
