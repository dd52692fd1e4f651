"""The sandbox's inbox: the page at ``/`` that shows what would have arrived, and the same as JSON for other programs' tests.

It reads what the providers took, and does what a person asks. The providers know nothing of it.
"""
