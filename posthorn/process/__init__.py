"""What a process of ours needs around it: streams that last, a home, proxies, words for a crash, a Prefect server, and
people to tell.

For whatever is started as a command: ``posthorn`` and ``python -m deployments.…``. It knows no campaign, no ledger and no
provider, and it never imports Prefect: that takes a second and settles Prefect's settings for good.
"""
