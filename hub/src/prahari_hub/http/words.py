"""The product's vocabulary as people read it: one English word for each key; the catalogues hold the translations."""

from __future__ import annotations


def N_(message: str) -> str:  # noqa: N802  # gettext's own name for "collect, do not translate yet"
    return message


WORDS: dict[str, dict[str, str]] = {
    "presence": {
        "online": N_("Online"),
        "suspect": N_("Suspect"),
        "offline": N_("Offline"),
        "unknown": N_("Unknown"),
    },
    "health": {
        "ok": N_("Normal"),
        "warn": N_("Degraded"),
        "fail": N_("Faulty"),
        "unknown": N_("Not known"),
    },
    "state": {
        "normal": N_("Normal"),
        "warn": N_("Degraded"),
        "fail": N_("Faulty"),
        "suspect": N_("Suspect"),
        "offline": N_("Offline"),
        "unknown": N_("Unknown"),
        "maintenance": N_("Maintenance"),
    },
    "service": {
        "registered": N_("Not yet in service"),
        "active": N_("In service"),
        "maintenance": N_("Maintenance"),
        "retired": N_("Retired"),
    },
    "severity": {
        "critical": N_("Critical"),
        "major": N_("Major"),
        "minor": N_("Minor"),
        "warning": N_("Warning"),
    },
    "type": {
        "camera": N_("Camera"),
        "callbox": N_("Call box"),
        "display": N_("Display"),
    },
    "kind": {
        "callbox.press": N_("Call box pressed"),
        "callbox.stuck": N_("Button stuck"),
        "callbox.selftest": N_("Call box self-test"),
        "camera.track": N_("Moving object"),
        "camera.fault": N_("Camera fault"),
        "display.shown": N_("Display shows"),
        "display.fault": N_("Display fault"),
        "override.state": N_("Override state"),
        "command.state": N_("Command state"),
        "twin.report": N_("Configuration report"),
        "outbox.shed": N_("Events given up"),
        "outbox.set_aside": N_("Journal set aside"),
        "agent.fault": N_("Agent fault"),
        "device.offline": N_("Device offline"),
        "device.clone": N_("Two devices under one name"),
    },
    "action": {
        "opened": N_("opened"),
        "repeated": N_("repeated"),
        "cleared": N_("cleared"),
        "acknowledged": N_("acknowledged"),
        "unacknowledged": N_("acknowledgement withdrawn"),
        "assigned": N_("assigned"),
        "commented": N_("commented"),
        "resolved": N_("resolved"),
        "escalated": N_("raised in severity"),
        "told": N_("people told"),
    },
    "command": {
        "QUEUED": N_("Queued until it reconnects"),
        "SENT": N_("Sent"),
        "ACCEPTED": N_("Accepted"),
        "RUNNING": N_("Running"),
        "SUCCEEDED": N_("Done"),
        "FAILED": N_("Failed"),
        "REJECTED": N_("Refused by the device"),
        "EXPIRED": N_("Expired"),
        "CANCELLED": N_("Cancelled"),
        "LOST": N_("Lost"),
    },
    "command_name": {
        "callbox.lamp": N_("Set the lamp"),
        "display.preview": N_("Preview a message"),
        "camera.snapshot": N_("Take a snapshot"),
        "agent.restart": N_("Restart the agent"),
    },
    "class": {
        "0": N_("Safe content"),
        "1": N_("Filler"),
        "2": N_("Advertisement"),
        "3": N_("Guaranteed advertisement"),
        "4": N_("Public information"),
        "5": N_("Traffic"),
        "6": N_("Emergency"),
        "7": N_("Local"),
    },
    "colour": {
        "Amber": N_("Amber"),
        "White": N_("White"),
        "Red": N_("Red"),
        "Green": N_("Green"),
        "Blue": N_("Blue"),
    },
    "source": {
        "playlist": N_("Playlist"),
        "override": N_("Override"),
        "safe": N_("Safe content"),
    },
    "role": {
        "admin": N_("Admin"),
        "operator": N_("Operator"),
        "technician": N_("Technician"),
        "advertiser": N_("Advertiser"),
        "auditor": N_("Auditor"),
    },
    "claim": {
        "issued": N_("Waiting for the device"),
        "bound": N_("In use by a device"),
        "used": N_("Used"),
        "expired": N_("Expired"),
        "revoked": N_("Revoked"),
        "locked": N_("Locked after wrong attempts"),
    },
    "check": {
        "cpu": N_("Processor"),
        "memory": N_("Memory"),
        "disk": N_("Disk"),
        "temperature": N_("Temperature"),
        "power": N_("Power"),
        "clock": N_("Clock"),
        "link": N_("Link"),
        "outbox": N_("Events waiting"),
        "certificate": N_("Certificate, days left"),
        "uploads": N_("Files waiting"),
    },
}

SENTENCES = (
    N_("The name or the password is wrong."),
    N_("This account is disabled; ask an admin."),
    N_("This set-up link is used or expired; run prahari-hub init for a new one."),
    N_("This log-in link is used or expired; sign in with your name and password."),
    N_("The two passwords differ; type the same one twice."),
    N_("There is an admin already; ask that person for an account."),
    N_("The page was open too long or came from elsewhere; reload it and try again."),
    N_("An override needs a reason: say why the sign is taken over."),
    N_("motion only: no model"),
)
"""Sentences of services and devices that pages show in the reader's language."""
