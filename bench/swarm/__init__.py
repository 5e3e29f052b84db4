"""The swarm: many simulated devices that speak the real contract over real MQTT with real certificates.

``identities.issue`` puts devices into service in a hub's home before it starts, ``Swarm`` runs one TLS connection a device,
``multiplex`` the devices of a whole state over few connections, and ``Ledger`` balances what was acked with the database.

>>> from bench.swarm import Swarm, issue                                        # doctest: +SKIP
>>> with Swarm(issue(settings, 50), "127.0.0.1", settings.mqtt_port, ca=settings.home / "pki" / "ca.pem") as swarm:
...     swarm.wait_welcomed()
...     swarm.press("swarm-000000")
...     swarm.wait_acked()
>>> assert swarm.ledger.check(settings.store_url).balanced                      # doctest: +SKIP
"""

from bench.swarm.identities import Identity, issue, issue_named, name_of
from bench.swarm.ledger import Balance, Ledger
from bench.swarm.swarm import Swarm

__all__ = ["Balance", "Identity", "Ledger", "Swarm", "issue", "issue_named", "name_of"]
