"""The configuration of nats-server: one listener for devices (MQTT over mutual TLS), one on loopback for the hub.

Accounts: SYS (kick), AUTH (the callout alone, so that nobody else can speak as the broker), DEVICES (devices and the hub).
JetStream is on because the MQTT listener wants it; nothing that matters is stored in it.
"""

from __future__ import annotations

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
LOOPBACK = "127.0.0.1"

_TEMPLATE = """\
# Written by prahari-hub at every start; changes are lost. Settings are in hub.toml.
server_name: prahari
host: {nats_host}
port: {nats_port}
pid_file: {pid_file}
log_file: {log_file}
logfile_size_limit: 4MB
logfile_max_num: 2
max_payload: {max_payload}
max_pending: 16MB
jetstream {{ store_dir: {store}, max_mem: 16MB, max_file: 64MB }}
mqtt {{
  host: {listen}
  port: {mqtt_port}
  max_ack_pending: 64
  reject_qos2_publish: true
  downgrade_qos2_subscribe: true
  tls {{
    cert_file: {certificate}
    key_file: {key}
    ca_file: {ca}
    verify: true
    timeout: {auth_timeout}
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
  timeout: {auth_timeout}
  auth_callout {{ issuer: {issuer}, account: AUTH, auth_users: [ {system}, {callout}, {hub} ] }}
}}
"""


@dataclass(frozen=True)
class Plan:
    """Where the embedded server listens and what it shows; ``folder`` is the broker's own in the hub's home."""

    folder: Path
    mqtt_port: int
    nats_port: int
    certificate: Path
    key: Path
    ca: Path
    listen: str = LOOPBACK

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
    """The configuration as text; a pattern for an external server, too. It holds public keys alone."""
    source, destination = mapping()
    paths = {
        "pid_file": plan.pid_file,
        "log_file": plan.log_file,
        "store": plan.store,
        "certificate": plan.certificate,
        "key": plan.key,
        "ca": plan.ca,
    }
    return _TEMPLATE.format(
        nats_host=LOOPBACK,
        nats_port=plan.nats_port,
        listen=json.dumps(plan.listen),
        mqtt_port=plan.mqtt_port,
        max_payload=MAX_PAYLOAD,
        auth_timeout=AUTH_TIMEOUT_S,
        issuer=public(keys.issuer),
        callout=public(keys.callout),
        hub=public(keys.hub),
        system=public(keys.system),
        source=json.dumps(source),
        destination=json.dumps(destination),
        **{name: json.dumps(str(path.absolute())) for name, path in paths.items()},
    )


def write(plan: Plan, keys: Keys) -> None:
    private_folder(plan.folder)
    write_private(plan.config_file, render(plan, keys).encode())
