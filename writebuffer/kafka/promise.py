"""What a topic's settings promise: those of topics that penstock makes, and which of others' are refused, and why."""

from collections.abc import Mapping

from common.values.errors import Misconfigured
from writebuffer.kafka.url import FRAMING_BYTES
from writebuffer.record import RECORD_BYTES_MAX

_MESSAGE_BYTES = RECORD_BYTES_MAX + FRAMING_BYTES
_ANY_MS = str(2**63 - 1)


def settings_of_new(replicas: int) -> dict[str, str]:
    """Of a topic that penstock makes: kept until penstock trims it, never acknowledged by one replica of several."""
    return {
        "cleanup.policy": "delete",
        "retention.ms": "-1",
        "retention.bytes": "-1",
        "min.insync.replicas": str(min(replicas, 2)),
        "unclean.leader.election.enable": "false",
        "message.timestamp.type": "CreateTime",
        # An append time is what a router's clock said; Kafka 4 would refuse one that is an hour ahead.
        "message.timestamp.after.max.ms": _ANY_MS,
        "message.timestamp.before.max.ms": _ANY_MS,
    }


def check(shown: str, settings: Mapping[str, str], replicas: int) -> None:
    """Raises Misconfigured for a topic that can lose acknowledged records, or cannot take what penstock appends."""
    wrong = _losing(settings, replicas) or _unfit(settings)
    if wrong:
        setting, why, remedy = wrong
        raise Misconfigured(
            f"{shown}: the topic's {setting} is {settings.get(setting)!r}: {why}; set it to {remedy} "
            "(kafka-configs --alter --entity-type topics), or use another topic",
            setting=setting,
            actual=settings.get(setting),
        )


def durability(settings: Mapping[str, str], replicas: int) -> str:
    """One sentence on what an acknowledgement means."""
    insync = int(settings["min.insync.replicas"])
    if replicas == 1:
        return "acks=all by the only replica: acknowledged records are lost with that broker's disk, or its power"
    return f"acks=all: at least {insync} of {replicas} replicas hold a record, in memory at first, when acknowledged"


def retention(settings: Mapping[str, str]) -> str | None:
    """What Kafka removes by itself, before penstock has trimmed it; None where it keeps everything."""
    limits = [
        f"{setting}={settings[setting]}"
        for setting in ("retention.ms", "retention.bytes")
        if settings.get(setting, "-1") != "-1"
    ]
    return " and ".join(limits) or None


def _losing(settings: Mapping[str, str], replicas: int) -> tuple[str, str, str] | None:
    insync = int(settings["min.insync.replicas"])
    if "delete" not in settings["cleanup.policy"] or "compact" in settings["cleanup.policy"]:
        return "cleanup.policy", "compaction removes records that nobody has read, without a word", "delete"
    if settings["unclean.leader.election.enable"] == "true":
        return "unclean.leader.election.enable", "a replica without acknowledged records may become leader", "false"
    if replicas > 1 and insync < 2:
        return "min.insync.replicas", f"one of {replicas} replicas alone may acknowledge, and then be lost", "2"
    if insync > replicas:
        return "min.insync.replicas", f"with {replicas} replicas nothing is ever acknowledged", str(min(replicas, 2))
    return None


def _unfit(settings: Mapping[str, str]) -> tuple[str, str, str] | None:
    if int(settings["max.message.bytes"]) < _MESSAGE_BYTES:
        return "max.message.bytes", f"records have up to {RECORD_BYTES_MAX} bytes", f"{_MESSAGE_BYTES} or more"
    if settings["message.timestamp.type"] != "CreateTime":
        return "message.timestamp.type", "seeks by time go by the routers' append time", "CreateTime"
    return None
