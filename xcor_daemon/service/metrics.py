"""Metrics: a text file for Prometheus and EMF lines for CloudWatch.

EMF: https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/CloudWatch_Embedded_Metric_Format_Specification.html
Prometheus: https://prometheus.io/docs/instrumenting/exposition_formats/
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from ..atomic_files import write_text

_HELP = {
    "xcor_jobs": "Jobs on this machine and waiting in S3, by state.",
    "xcor_oldest_ready_seconds": "Waiting time of the oldest job without a worker.",
    "xcor_pass_seconds": "Duration of the last pass.",
    "xcor_last_success_timestamp_seconds": "End of the last pass.",
    "xcor_s3_errors_total": "Error responses of S3, by code.",
    "xcor_worker_end_total": "Workers that ended, by class.",
    "xcor_disk_free_bytes": "Free bytes on the disk of the work folder.",
    "xcor_lease_lost_total": "Jobs taken over by another daemon.",
    "xcor_units_done_total": "Days in the jobs published by this daemon.",
}
_LABELS = {"xcor_jobs": "state", "xcor_s3_errors_total": "code", "xcor_worker_end_total": "class"}


@dataclass
class Metrics:
    """The metrics of one moment: a number each, or a mapping from label to number."""

    figures: dict[str, float | Mapping[str, float]] = field(default_factory=dict)

    def prometheus(self) -> str:
        """The text for the textfile collector of a node exporter."""
        lines = []
        for name, value in self.figures.items():
            kind = "counter" if name.endswith("_total") else "gauge"
            lines += [f"# HELP {name} {_HELP[name]}", f"# TYPE {name} {kind}"]
            if isinstance(value, Mapping):
                label = _LABELS[name]
                lines += [
                    f"{name}{{{label}={json.dumps(key)}}} {number:.15g}"
                    for key, number in sorted(value.items())
                ]
            else:
                lines.append(f"{name} {value:.15g}")
        return "".join(f"{line}\n" for line in lines)

    def emf(self, now: float) -> str:
        """A line of JSON in the Embedded Metric Format; a label becomes part of the name."""
        flat: dict[str, float] = {}
        for name, value in self.figures.items():
            if isinstance(value, Mapping):
                flat |= {f"{name}.{key}": number for key, number in sorted(value.items())}
            else:
                flat[name] = value
        directive = {
            "Namespace": "xcor-daemon",
            "Dimensions": [[]],
            "Metrics": [{"Name": name, "Unit": _unit(name)} for name in flat],
        }
        meta = {"Timestamp": round(now * 1000), "CloudWatchMetrics": [directive]}
        return json.dumps({"_aws": meta, **flat})

    def write(self, path: Path) -> None:
        """Replace the file for Prometheus atomically."""
        write_text(path, self.prometheus(), durable=False)  # the next pass writes it again


def _unit(name: str) -> str:
    if name.endswith("_bytes"):
        return "Bytes"
    return "Seconds" if name.endswith("_seconds") and "timestamp" not in name else "None"
