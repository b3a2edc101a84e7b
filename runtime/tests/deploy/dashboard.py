"""The Grafana dashboard: it has the form of Grafana's published model, and every panel's query has an answer."""

import json

from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.models.dashboard import Dashboard


def read(file):
    """Reads a dashboard and checks that the model, which drops what it does not know, keeps all of it."""
    found = json.loads(file.read_text())
    kept = json.loads(JSONEncoder(sort_keys=True).encode(Dashboard.from_json(found)))
    compare(found, kept, file.name)
    return found


def compare(found, kept, place):
    if isinstance(found, dict):
        for key, value in found.items():
            assert isinstance(kept, dict) and key in kept, f"{place}: {key} is not in Grafana's model"
            compare(value, kept[key], f"{place}.{key}")
    elif isinstance(found, list):
        assert isinstance(kept, list) and len(found) == len(kept), f"{place} is not a list in Grafana's model"
        for number, (value, other) in enumerate(zip(found, kept)):
            compare(value, other, f"{place}[{number}]")
    else:
        assert found == kept, f"{place}: {found!r} becomes {kept!r} in Grafana's model"


def queries(dashboard, interval):
    """Yields each panel's title and query, with the variables as Grafana would replace them."""
    panels = [panel for panel in dashboard["panels"] if panel["type"] != "row"]
    ids = [panel["id"] for panel in dashboard["panels"]]
    assert len(ids) == len(set(ids)), "panels have ids of their own"
    for panel in panels:
        for target in panel["targets"]:
            query = target["expr"].replace("$__rate_interval", interval).replace("$instance", ".*")
            assert "$" not in query, query
            yield panel["title"], query
