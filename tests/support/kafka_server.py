"""A real Kafka for a test: one process that is broker and controller (KRaft).

The last properties make what a SIGKILL leaves repeatable: the session of a dead broker ends after a second, not
nine, and the first offset after a DeleteRecords is kept after 100 ms, not up to a minute.
"""

import os
import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path

from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient

from tests.support.ports import free_ports
from tests.support.server_process import ServerProcess
from tests.support.wait import wait_until

_JARS = Path(os.environ.get("PENSTOCK_TEST_KAFKA_JARS", Path(__file__).parents[2] / ".services" / "kafka"))
_JAVA = ["java", "-Xmx160m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-cp", f"{_JARS}/*"]
_PROPERTIES = """
process.roles=broker,controller
node.id={node}
controller.listener.names=CONTROLLER
controller.quorum.voters={voters}
listeners={listener}://127.0.0.1:{broker},CONTROLLER://127.0.0.1:{controller}
advertised.listeners={listener}://127.0.0.1:{broker}
listener.security.protocol.map=CONTROLLER:PLAINTEXT,PLAINTEXT:PLAINTEXT,SASL_SSL:SASL_SSL
inter.broker.listener.name={listener}
log.dirs=data
auto.create.topics.enable=false
offsets.topic.replication.factor=1
offsets.topic.num.partitions=1
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
transaction.state.log.num.partitions=1
share.coordinator.state.topic.replication.factor=1
share.coordinator.state.topic.min.isr=1
group.initial.rebalance.delay.ms=0
log.cleaner.dedupe.buffer.size=2097152
log.retention.ms=-1
log.retention.check.interval.ms=200
broker.heartbeat.interval.ms=200
broker.session.timeout.ms=1000
log.initial.task.delay.ms=100
log.flush.start.offset.checkpoint.interval.ms=100
"""


def why_not() -> str | None:
    """Why no broker can be started here, with the way out; None where it can."""
    if not shutil.which("java"):
        return "there is no Java for Kafka: install a JRE 17, then make services"
    if not any(_JARS.glob("kafka_*.jar")):
        return "Kafka's jars are not there: make services (needs Maven)"
    return None


class KafkaServer:
    """A broker on a free port of loopback, its data in `folder`, formatted once."""

    def __init__(
        self,
        folder: Path,
        *properties: str,
        listener: str = "PLAINTEXT",
        client: Mapping[str, str] | None = None,
        node: int = 1,
        ports: tuple[int, int] | None = None,
        voters: str = "",
    ) -> None:
        """properties: more lines for server.properties, such as "log.retention.check.interval.ms=200".

        client: what `start` needs to be let in, where the listener is not PLAINTEXT. node, ports (broker, controller)
        and voters: of one of several (`three_brokers`).
        """
        broker, controller = ports or free_ports(2)
        self.bootstrap = f"127.0.0.1:{broker}"
        self.url = f"kafka://{self.bootstrap}"
        self._client: dict[str, str | int | float | bool] = {
            "bootstrap.servers": self.bootstrap,
            "log_level": 0,
            **(client or {}),
        }
        filled = _PROPERTIES.format(
            node=node,
            voters=voters or f"{node}@127.0.0.1:{controller}",
            listener=listener,
            broker=broker,
            controller=controller,
        )
        (folder / "server.properties").write_text("\n".join([filled, *properties]) + "\n")
        self._folder = folder
        self._process = ServerProcess("kafka", [*_JAVA, "kafka.Kafka", "server.properties"], folder)

    def start(self) -> None:
        """Returns once the broker answers for itself."""
        self.begin()
        wait_until(self._answers, timeout_s=60, what="the broker answers")

    def begin(self) -> None:
        """Start it without waiting: one of several answers only when most of them are there."""
        if not (self._folder / "data").exists():
            self._format()
        self._process.start()

    def brokers(self) -> int:
        """How many the cluster knows, as this one says."""
        return len(AdminClient(self._client).list_topics(timeout=2).brokers)

    def in_sync(self, topic: str) -> int:
        """How many replicas are in sync, as this broker says: the least of any partition."""
        partitions = AdminClient(self._client).list_topics(topic, timeout=2).topics[topic].partitions.values()
        return min((len(partition.isrs) for partition in partitions), default=0)

    def stop(self) -> None:
        self._process.stop()

    def kill(self) -> None:
        """SIGKILL; `start` starts it again on the same data and port."""
        self._process.kill()

    def keep_data(self) -> None:
        """Copy what is on its disk now, as a crash would leave it; `put_data_back` goes on from there."""
        self.pause()
        shutil.rmtree(self._folder / "kept", ignore_errors=True)
        shutil.copytree(self._folder / "data", self._folder / "kept")
        self.resume()

    def put_data_back(self) -> None:
        """Killed, and started again on the copy: what came since is lost."""
        self.kill()
        shutil.rmtree(self._folder / "data")
        shutil.copytree(self._folder / "kept", self._folder / "data")
        self.start()

    def pause(self) -> None:
        self._process.pause()

    def resume(self) -> None:
        self._process.resume()

    @property
    def buffer_url(self) -> str:
        return f"{self.url}/killed"

    def _format(self) -> None:
        command = [*_JAVA, "kafka.tools.StorageTool", "format", "--cluster-id", "AAAAAAAAAAAAAAAAAAAAAA"]
        subprocess.run(
            [*command, "--config", "server.properties"], cwd=self._folder, check=True, capture_output=True, timeout=60
        )

    def _answers(self) -> bool:
        self._process.check_alive()
        admin = AdminClient(self._client)
        try:
            return bool(admin.list_topics(timeout=2).brokers)
        except KafkaException:
            return False


def three_brokers(folder: Path) -> list[KafkaServer]:
    """A cluster of three in folders under `folder`, each broker and controller; none started yet."""
    ports = free_ports(6)
    pairs = list(zip(ports[:3], ports[3:], strict=True))
    voters = ",".join(f"{number}@127.0.0.1:{controller}" for number, (_, controller) in enumerate(pairs, 1))
    servers = []
    for number, pair in enumerate(pairs, 1):
        mine = folder / str(number)
        mine.mkdir()
        servers.append(KafkaServer(mine, node=number, ports=pair, voters=voters))
    return servers
