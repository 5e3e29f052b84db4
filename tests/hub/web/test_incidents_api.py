"""Incidents over the API as an operator's program meets them."""

from __future__ import annotations

from prahari_hub.http.actor import Role
from prahari_wire.ids import ulid


def test_the_queue_shows_what_the_issue_promises(console) -> None:
    incident = console.incident()
    with console.client(Role.OPERATOR) as client:
        listed = client.get(
            "/api/v1/incidents", params={"state": "open", "kind": "callbox.press", "limit": 500}
        ).json()
        found = next(item for item in listed["items"] if item["id"] == incident)
        assert {"id", "kind", "severity", "device", "opened_at"} <= found.keys()
        assert (found["severity"], found["open"], found["acknowledged"]) == ("critical", True, False)
        single = client.get(f"/api/v1/incidents/{incident}").json()
    assert [entry["action"] for entry in single["log"]] == ["opened"] and single["notifications"] == []


def test_the_first_acknowledgement_counts_and_the_second_says_whose_it_was(console) -> None:
    incident = console.incident()
    with console.client(Role.OPERATOR) as first, console.client(Role.OPERATOR) as second:
        name = first.get("/api/v1/me").json()["name"]
        assert first.post(f"/api/v1/incidents/{incident}/ack").json()["acked_by"] == name
        again = second.post(f"/api/v1/incidents/{incident}/ack", json={})
    assert again.status_code == 200 and again.json()["acked_by"] == name


def test_filters_narrow_the_list(console) -> None:
    incident = console.incident()
    with console.client(Role.OPERATOR) as client:
        device = client.get(f"/api/v1/incidents/{incident}").json()["device"]

        def ids(**wanted: object) -> list[str]:
            answer = client.get("/api/v1/incidents", params={"device": device, **wanted})
            return [item["id"] for item in answer.json()["items"]]

        assert ids() == ids(severity="critical") == ids(unacked=True) == [incident]
        assert ids(severity="minor") == ids(unacked=False) == ids(state="closed") == []
        client.post(f"/api/v1/incidents/{incident}/assign", json={"assignee": "the-operator"})
        assert ids(assignee="the-operator") == [incident] and ids(assignee="the-admin") == []
        client.post(f"/api/v1/incidents/{incident}/resolve", json={"comment": "test"})
        assert ids() == [] and ids(state="closed") == ids(state="all") == [incident]


def test_refusals_say_what_to_do(console) -> None:
    incident = console.incident()
    with console.client(Role.OPERATOR) as client:
        unsaid = client.post(f"/api/v1/incidents/{incident}/resolve")
        assert unsaid.status_code == 422 and unsaid.json()["errors"][0]["path"] == "comment"
        assert client.post(f"/api/v1/incidents/{incident}/comment", json={"text": "  "}).status_code == 422
        assert client.post(f"/api/v1/incidents/{ulid()}/ack").status_code == 404
        client.post(f"/api/v1/incidents/{incident}/resolve", json={"comment": "test"})
        late = client.post(f"/api/v1/incidents/{incident}/assign", json={"assignee": None})
        assert late.status_code == 409 and "closed" in late.json()["detail"]


def test_the_lamp_is_commanded_in_the_operators_name_of_action(console) -> None:
    incident = console.incident()
    with console.client(Role.OPERATOR) as client:
        device = client.get(f"/api/v1/incidents/{incident}").json()["device"]
        client.post(f"/api/v1/incidents/{incident}/ack")
        (command,) = client.get(f"/api/v1/devices/{device}/commands").json()["items"]
    assert command["name"] == "callbox.lamp"
    assert command["args"] == {"peripheral": "box1", "incident": incident, "state": "steady"}
