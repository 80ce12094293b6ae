"""Figures for those who watch the service: a Prometheus text file and CloudWatch EMF lines.

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
    "xcor_jobs": "Jobs of this machine, and those that wait in S3, by state.",
    "xcor_oldest_ready_seconds": "How long the oldest job has waited for a worker.",
    "xcor_pass_seconds": "What the last pass took.",
    "xcor_last_success_timestamp_seconds": "When the last pass came to its end.",
    "xcor_s3_errors_total": "Answers of S3 that were errors, by code.",
    "xcor_worker_end_total": "Ends of workers, by class.",
    "xcor_disk_free_bytes": "Bytes that are free on the disk of the work folder.",
    "xcor_lease_lost_total": "Jobs that another daemon has taken over from this one.",
    "xcor_units_done_total": "Days of the jobs that this daemon has published.",
}
_LABELS = {"xcor_jobs": "state", "xcor_s3_errors_total": "code", "xcor_worker_end_total": "class"}


@dataclass
class Metrics:
    """The figures of one moment; a mapping where there is one figure for each label."""

    figures: dict[str, float | Mapping[str, float]] = field(default_factory=dict)

    def prometheus(self) -> str:
        """The text that a node exporter's textfile collector reads."""
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
        """One line of JSON that CloudWatch turns into metrics; a label becomes part of a name."""
        flat: dict[str, float] = {}
        for name, value in self.figures.items():
            if isinstance(value, Mapping):
                flat |= {f"{name}.{key}": number for key, number in sorted(value.items())}
            else:
                flat[name] = value
        about = {
            "Namespace": "xcor-daemon",
            "Dimensions": [[]],
            "Metrics": [{"Name": name, "Unit": _unit(name)} for name in flat],
        }
        meta = {"Timestamp": round(now * 1000), "CloudWatchMetrics": [about]}
        return json.dumps({"_aws": meta, **flat})

    def write(self, path: Path) -> None:
        """Replace the Prometheus file; its reader never sees half of one."""
        write_text(path, self.prometheus(), durable=False)  # the next pass writes it again


def _unit(name: str) -> str:
    if name.endswith("_bytes"):
        return "Bytes"
    return "Seconds" if name.endswith("_seconds") and "timestamp" not in name else "None"
