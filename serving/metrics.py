"""Metrics for Prometheus: verdicts, refusals, seconds, and what is away. They name nobody."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest


class Metrics:
    """The metrics of one app."""

    def __init__(self) -> None:
        self._registry = own = CollectorRegistry()

        def gauge(name: str, meaning: str, *labels: str) -> Gauge:
            return Gauge(f"platelake_{name}", meaning, labels, registry=own)

        self.verdicts = Counter("platelake_verdicts", "Photos inspected", ["verdict"], registry=own)
        self.refused = Counter("platelake_refused_photos", "Photos refused", ["rule"], registry=own)
        self.seconds = Histogram(
            "platelake_verdict_seconds", "From photo received to verdict stored", registry=own
        )
        self.waiting = gauge("waiting_verdicts", "Verdicts that wait for SQL")
        self.pushes = gauge("waiting_pushes", "Verdicts that wait for the webhook")
        self.sql_away = gauge("sql_away", "1 while SQL does not answer")
        self.mlflow_away = gauge("mlflow_away", "1 while MLflow does not answer")
        self.champion = gauge("champion_version", "Version in use; 0: none", "model")

    def text(self) -> bytes:
        """Return all metrics in the format of Prometheus."""
        return generate_latest(self._registry)
