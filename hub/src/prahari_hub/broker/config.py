"""The configuration of nats-server: one listener for devices (MQTT over mutual TLS), one for the hub, on loopback or with TLS.

Accounts: SYS (kick), AUTH (the callout alone, so that nobody else can speak as the broker), DEVICES (devices and the hub).
JetStream is on because the MQTT listener wants it; nothing that matters is stored in it. In a cluster it keeps the devices' MQTT
sessions on a majority of the nodes, which is why a minority lets nobody in.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path

from prahari_wire.base import MAX_EVENT_BATCH
from prahari_wire.topics import mapping

from prahari_hub.broker.files import private_folder, write_private
from prahari_hub.broker.keys import Keys, public

MAX_PAYLOAD = MAX_EVENT_BATCH + 4096
"""Above the largest message that ingest accepts, so that ingest can name what it refuses; beyond it the broker disconnects."""
AUTH_TIMEOUT_S = 5
DEVICE_TIMEOUT_S = 30
"""From a device's first byte to the hub's word, a little longer than an agent waits. When everybody comes at once, handshakes and the line
take seconds: a broker that gave up on them sooner would throw its work away, and be asked again by all of them.
"""
LOOPBACK = "127.0.0.1"
CLUSTER = "prahari"

_TEMPLATE = """\
# Written by prahari-hub; changes are lost when it writes again. Settings are in hub.toml.
server_name: {name}
host: {nats_host}
port: {nats_port}
{nats_tls}pid_file: {pid_file}
log_file: {log_file}
logfile_size_limit: 4MB
logfile_max_num: 2
max_payload: {max_payload}
max_pending: 128MB
jetstream {{ store_dir: {store}, max_mem: 16MB, max_file: {max_file}{domain} }}
mqtt {{
  host: {listen}
  port: {mqtt_port}
  max_ack_pending: 64
  stream_replicas: {replicas}
  reject_qos2_publish: true
  downgrade_qos2_subscribe: true
  tls {{
    cert_file: {certificate}
    key_file: {key}
    ca_file: {ca}
    verify: true
    timeout: {device_timeout}
  }}
}}
system_account: SYS
accounts {{
  SYS {{ users: [ {{ nkey: {system} }} ] }}
  AUTH {{ users: [ {{ nkey: {callout} }} ] }}
  DEVICES {{
    jetstream: enabled
    users: [ {{ nkey: {hub} }} ]
    mappings {{ {source}: {destination} }}
  }}
}}
authorization {{
  timeout: {device_timeout}
  auth_callout {{ issuer: {issuer}, account: AUTH, auth_users: [ {system}, {callout}, {hub} ] }}
}}
{cluster}"""

_TLS = """\
tls {{
  cert_file: {certificate}
  key_file: {key}
  ca_file: {ca}
  timeout: {auth_timeout}
}}
"""

_CLUSTER = """\
cluster {{
  name: {name}
  listen: {listen}
  pool_size: 3
  authorization {{ user: node, password: {password}, timeout: {auth_timeout} }}
  routes: {routes}
{tls}}}
"""


_LEAVES = """\
leafnodes {{
  listen: {listen}
{tls}}}
"""

_REMOTE = """\
leafnodes {{ remotes: [
{remotes}
] }}
"""


@dataclass(frozen=True)
class Cluster:
    """Where this node listens for the others and where those are (host:port); with TLS unless all of them share a machine."""

    listen: str
    routes: tuple[str, ...]
    tls: bool = True


@dataclass(frozen=True)
class Plan:
    """Where a server listens and what it shows; ``folder`` is its own, in the hub's home if it is embedded.

    Off loopback (``nats_listen``) the hub's connections are wrapped in TLS, too. A node of ``cluster`` shares sessions with the
    others. ``leaves``: where it listens (host:port) for the nodes of cities. One with ``centre``, such addresses, is a city's own.
    """

    folder: Path
    mqtt_port: int
    nats_port: int
    certificate: Path
    key: Path
    ca: Path
    listen: str = LOOPBACK
    name: str = "prahari"
    nats_listen: str = LOOPBACK
    cluster: Cluster | None = None
    leaves: str | None = None
    centre: tuple[str, ...] = ()

    @property
    def url(self) -> str:
        return f"nats://{LOOPBACK}:{self.nats_port}"

    @property
    def config_file(self) -> Path:
        return self.folder / "nats.conf"

    @property
    def pid_file(self) -> Path:
        return self.folder / "nats.pid"

    @property
    def log_file(self) -> Path:
        return self.folder / "nats.log"

    @property
    def error_file(self) -> Path:
        """What the server complains about before it has a log."""
        return self.folder / "nats.err"

    @property
    def store(self) -> Path:
        return self.folder / "jetstream"


def render(plan: Plan, keys: Keys) -> str:
    """The configuration as text; for an external server, too. Of a single server it holds public keys alone; of a node, secrets."""
    source, destination = mapping()
    return _TEMPLATE.format(
        name=json.dumps(plan.name),
        nats_host=json.dumps(plan.nats_listen),
        nats_port=plan.nats_port,
        nats_tls="" if plan.nats_listen == LOOPBACK else _TLS.format(**_files(plan)),
        listen=json.dumps(plan.listen),
        mqtt_port=plan.mqtt_port,
        max_payload=MAX_PAYLOAD,
        issuer=public(keys.issuer),
        callout=public(keys.callout),
        hub=public(keys.hub),
        system=public(keys.system),
        source=json.dumps(source),
        destination=json.dumps(destination),
        replicas=min(3, 1 + len(plan.cluster.routes)) if plan.cluster else 1,
        cluster="".join((_cluster(plan, keys), _leaves(plan), _remotes(plan, keys))),
        domain=f", domain: {json.dumps(plan.name)}" if plan.centre else "",
        max_file="1GB" if plan.cluster else "64MB",
        pid_file=_quoted(plan.pid_file),
        log_file=_quoted(plan.log_file),
        store=_quoted(plan.store),
        device_timeout=DEVICE_TIMEOUT_S,
        **_files(plan),
    )


def _cluster(plan: Plan, keys: Keys) -> str:
    """Routes ask for a password as well: by its certificate alone every device could pass for a node."""
    cluster = plan.cluster
    if cluster is None:
        return ""
    password = hashlib.sha256(f"routes {keys.issuer}".encode()).hexdigest()
    return _CLUSTER.format(
        name=CLUSTER,
        listen=json.dumps(cluster.listen),
        routes=json.dumps([f"nats://node:{password}@{route}" for route in cluster.routes]),
        password=password,
        auth_timeout=AUTH_TIMEOUT_S,
        tls=_TLS.format(**_files(plan)) if cluster.tls else "",
    )


def _leaves(plan: Plan) -> str:
    if plan.leaves is None:
        return ""
    tls = "" if plan.leaves.startswith(f"{LOOPBACK}:") else _TLS.format(**_files(plan))
    return _LEAVES.format(listen=json.dumps(plan.leaves), tls=tls)


def _remotes(plan: Plan, keys: Keys) -> str:
    """One link an account: what devices and hub say, the callout's questions, and kicks."""
    if not plan.centre:
        return ""
    tls = f", tls {{ ca_file: {_quoted(plan.ca)} }}" if plan.centre[0].startswith("tls://") else ""
    accounts = {"DEVICES": keys.hub, "AUTH": keys.callout, "SYS": keys.system}
    return _REMOTE.format(
        remotes="\n".join(
            f"  {{ urls: {json.dumps(plan.centre)}, account: {account}, nkey: {seed}{tls} }}"
            for account, seed in accounts.items()
        )
    )


def _files(plan: Plan) -> dict[str, object]:
    return {
        "certificate": _quoted(plan.certificate),
        "key": _quoted(plan.key),
        "ca": _quoted(plan.ca),
        "auth_timeout": AUTH_TIMEOUT_S,
    }


def _quoted(path: Path) -> str:
    return json.dumps(str(path.absolute()))


def write(plan: Plan, keys: Keys) -> None:
    private_folder(plan.folder)
    write_private(plan.config_file, render(plan, keys).encode())
