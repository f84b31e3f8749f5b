"""What clients read into an answer beside its status.

Telegraf and influxdb-client-go match error texts by substring: a batch whose answer contains one of FINAL_TEXTS
counts as done, with any status, and is dropped. So an answer to what a client should send again contains none.
"""

RETRY_AFTER_S = 1
"""Whole seconds: a fraction makes the Python clients raise and lose the batch."""

FINAL_TEXTS = (
    "partial write",
    "unable to parse",
    "points beyond retention policy",
    "hinted handoff queue not empty",
    "retention policy not found",
    "database not found",
)


def without_final_texts(message: str) -> str:
    """`message`, or another where a client would misread it: messages carry names from clients and backends."""
    if any(text in message.lower() for text in FINAL_TEXTS):
        return "not stored for now; the router's log has the reason"
    return message
