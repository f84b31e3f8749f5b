"""Paths that InfluxDB's and Prometheus' clients ask for and a router does not serve, and what to use instead."""

QUERIES = 'rows are queried in SQL by the command `penstock query "SELECT …" --namespace NAME`, not over HTTP'
_MADE_BY_WRITES = "a bucket or database is made by the first write to it"
_REMOTE_WRITE = "Prometheus remote write is not served; Telegraf can receive it and write to /api/v2/write"
_NO_ACCOUNTS = "a router has no accounts: any token, and any user with any password, may write"

_ADVICE = {
    "/api/v2/query": QUERIES,
    "/api/v3/query": QUERIES,
    "/api/v1/query": QUERIES,
    "/api/v1/write": _REMOTE_WRITE,
    "/api/v1/prom/write": _REMOTE_WRITE,
    "/api/v1/prom/read": QUERIES,
    "/api/v2/delete": "rows cannot be deleted",
    "/api/v2/buckets": _MADE_BY_WRITES,
    "/api/v2/dbrps": _MADE_BY_WRITES,
    "/api/v3/configure/database": _MADE_BY_WRITES,
    "/api/v2/authorizations": _NO_ACCOUNTS,
    "/api/v2/orgs": "a router has no organizations: `org` is ignored",
    "/api/v2/setup": _NO_ACCOUNTS,
    "/api/v3/configure/token": _NO_ACCOUNTS,
}
"""By how a path begins: /api/v3/query is /api/v3/query_sql too."""


def advice(path: str) -> str:
    """What to use in place of `path`; "" where nothing is known of it."""
    return next((text for start, text in _ADVICE.items() if path.startswith(start)), "")
