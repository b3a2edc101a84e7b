"""A real Prometheus on loopback with the files of `deploy/prometheus`, and what it answers."""

import json
import re
import subprocess
import time
import urllib.parse
import urllib.request
from pathlib import Path


def shortened(rules, factor):
    """Returns alerting rules all of whose durations are divided by `factor`: what they ask stays the same, sooner."""
    if factor == 1:
        return rules
    seconds = {"s": 1, "m": 60, "h": 3600}
    divided = lambda number, unit: max(1, round(int(number) * seconds[unit] / factor))
    rules = re.sub(r"(for: |\[)(\d+)([smh])", lambda m: f"{m[1]}{divided(m[2], m[3])}s", rules)
    return re.sub(r"(age_seconds > )(\d+)", lambda m: f"{m[1]}{int(m[2]) / factor}", rules)


class Prometheus:
    def __init__(self, program, folder, deploy, factor):
        """Scrapes the addresses that `targets` is given."""
        self._targets = Path(folder, "targets.json")
        self._targets.write_text("[]")
        config = Path(deploy, "prometheus/prometheus.yml").read_text()
        config = config.replace("_interval: 5s", "_interval: 1s")
        config, count = re.subn(r"static_configs: .*", f'file_sd_configs: [{{ files: ["{self._targets}"], refresh_interval: 1s }}]', config)
        assert count == 1, "deploy/prometheus/prometheus.yml has one scrape configuration"
        Path(folder, "prometheus.yml").write_text(config)
        rules = Path(deploy, "prometheus/klines.rules.yml").read_text()
        Path(folder, "klines.rules.yml").write_text(shortened(rules, factor))
        self.alerts = re.findall(r"- alert: (\w+)", rules)
        self._log = Path(folder, "prometheus.log").open("wb")
        self.process = subprocess.Popen(
            [program, f"--config.file={folder}/prometheus.yml", f"--storage.tsdb.path={folder}/data",
             "--web.listen-address=127.0.0.1:0", "--log.level=info"],
            stdin=subprocess.DEVNULL, stdout=self._log, stderr=self._log)
        self._address = self._find_address(Path(folder, "prometheus.log"))
        self.began = time.time()

    def _find_address(self, log):
        for _ in range(600):
            assert self.process.poll() is None, f"prometheus ended: {log.read_text()}"
            text = log.read_text()
            if "Server is ready" in text:
                return re.search(r"Listening on\" address=(\S+)", text)[1]
            time.sleep(0.1)
        raise AssertionError(f"prometheus is not ready: {log.read_text()}")

    def targets(self, addresses):
        self._targets.write_text(json.dumps([{"targets": addresses}]))

    def ask(self, path, **parameters):
        query = urllib.parse.urlencode(parameters)
        with urllib.request.urlopen(f"http://{self._address}/api/v1/{path}?{query}", timeout=30) as answer:
            found = json.load(answer)
        assert found["status"] == "success", found
        return found["data"]

    def firing(self):
        """Returns the names of the alerts that fire now."""
        return {alert["labels"]["alertname"] for alert in self.ask("alerts")["alerts"] if alert["state"] == "firing"}

    def range(self, query, step=1):
        """Returns the series of a query over the whole run."""
        return self.ask("query_range", query=query, start=self.began, end=time.time(), step=step)["result"]
