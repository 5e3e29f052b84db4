"""Who is told in the tests of escalation, and what they are told of: a real HTTP receiver, a mail box, a press,
and many incidents at once."""

from __future__ import annotations

from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from aiosmtpd.smtp import SMTP
from prahari_hub.fleet.facts import Fact
from prahari_hub.incidents import queries, service
from prahari_hub.incidents.queries import Filter
from prahari_hub.incidents.tables import incidents
from prahari_hub.store import Store
from prahari_wire.callbox import Press
from prahari_wire.ids import ulid

SECRET = "a secret of the receiver's"
RANKS = {"critical": 0, "major": 1, "minor": 2}


class Receiver(ThreadingHTTPServer):
    """Keeps (path, headers, body) of what it gets and answers ``status``."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.got: list[tuple[str, dict[str, str], bytes]] = []
        self.status = 200

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}/hook/path-secret"


class Handler(BaseHTTPRequestHandler):
    server: Receiver

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.server.got.append((self.path, {k.lower(): v for k, v in self.headers.items()}, body))
        self.send_response(self.server.status)
        if self.server.status == 302:
            self.send_header("Location", f"http://127.0.0.1:{self.server.server_port}/elsewhere")
        self.end_headers()

    do_GET = do_POST

    def log_message(self, *_: object) -> None:
        pass


class Inbox:
    def __init__(self) -> None:
        self.mails: list[tuple[list[str], str]] = []

    async def handle_DATA(self, server: SMTP, session: object, envelope) -> str:
        self.mails.append((list(envelope.rcpt_tos), envelope.content.decode()))
        return "250 OK"


def press(store: Store) -> str:
    now = store.clock()
    fact = Fact(
        "pune-ecb-01",
        None,
        "box1",
        "callbox",
        "callbox.press",
        Press(press=ulid(), count=1),
        now,
        False,
        ulid(),
        now,
    )
    store.write_sync(lambda unit: service.on_event(unit, fact))
    return store.read_sync(lambda conn: queries.page(conn, Filter(kind=fact.kind))).items[0].id


def open_many(
    store: Store,
    count: int,
    severity: str = "major",
    *,
    kind: str = "device.clone",
    device: str | None = "pune-ecb-01",
) -> None:
    """As if ``count`` devices had got one each in this moment; the worse they are the later they stand by their ids."""
    now = store.clock()
    common = {"kind": kind, "severity": severity, "rank": RANKS[severity], "device_id": device}
    common |= {"title": "One of many", "detail": {}, "opened_at": now, "last_at": now, "count": 1}
    before = f"00{9 - RANKS[severity]}"
    each = [{"id": f"{before}{number:05}", "key": f"{before}{number}", **common} for number in range(count)]
    store.write_sync(lambda unit: unit.conn.execute(incidents.insert(), each))
