"""Commands for operators: status, logs, retry, cancel, hold, release, gc, doctor and others."""

from __future__ import annotations

import contextlib
import json
import os
import time

import click

from ..config import Config
from ..errors import XcorError
from ..logs import escape_controls

_json = click.option("--json", "as_json", is_flag=True, help="Print JSON instead of text.")
_dry_run = click.option("--dry-run", is_flag=True, help="Only report; change nothing.")


@click.command()
@click.argument("job_id", required=False)
@_json
@click.option("--watch", is_flag=True, help="Refresh every two seconds; Ctrl-C ends it.")
@click.pass_obj
def status(config: Config, job_id: str | None, as_json: bool, watch: bool) -> None:
    """Show all jobs, or one, from this machine and S3."""
    click.echo(_status(config, job_id, as_json))
    with contextlib.suppress(KeyboardInterrupt):  # the way to end it
        while watch:
            time.sleep(2)
            click.clear()
            click.echo(_status(config, job_id, as_json))


def _status(config: Config, job_id: str | None, as_json: bool) -> str:
    from .status import describe_job, describe_jobs, format_table

    if job_id is None:
        rows = describe_jobs(config)
        return json.dumps(rows, indent=1) if as_json else escape_controls(format_table(rows))
    job = describe_job(config, job_id)
    lines = [f"{name}: {value}" for name, value in job.items() if name != "log_tail"]
    shown = escape_controls("\n".join([*lines, *job["log_tail"]]))
    return json.dumps(job, indent=1) if as_json else shown


@click.command()
@click.argument("job_id")
@click.pass_obj
def logs(config: Config, job_id: str) -> None:
    """Print the worker log of a job, from this machine or S3."""
    from .status import read_log

    click.echo(escape_controls(read_log(config, job_id)), nl=False)


def _operator_command(action: str, text: str) -> click.Command:
    """A command that posts an operator command for the daemon's next pass."""

    @click.command(action, help=text)
    @click.argument("job_id")
    @click.pass_obj
    def command(config: Config, job_id: str) -> None:
        from ..storage.operator_commands import post

        post(config.work_dir, job_id, action)
        click.echo(f"job {job_id}: {action} requested; the daemon applies it on its next pass")

    return command


@click.command()
@_dry_run
@click.pass_obj
def gc(config: Config, dry_run: bool) -> None:
    """Delete the local folders of ended jobs.

    These are published, rejected and cancelled jobs, and failed jobs submitted more than 7 days
    ago. The daemon does the same when disk space is short. Results in S3 are kept.
    """
    from .recovery import collect_garbage

    for line in collect_garbage(config.work_dir, dry_run):
        click.echo(line)


@click.command("rebuild-state")
@click.pass_obj
def rebuild_state(config: Config) -> None:
    """Set damaged job folders aside.

    The daemon stages their jobs from S3 again.
    """
    from .recovery import rebuild_state as rebuild

    for line in rebuild(config.work_dir):
        click.echo(line)


@click.command()
@click.option("--dry-run", is_flag=True, hidden=True)  # version 0.1.0 required it
@click.pass_obj
def sync(config: Config, dry_run: bool) -> None:
    """List the jobs that the next pass would copy from S3.

    Copies nothing.

    \b
        +  will be copied                  =  copied and unchanged
        -  waiting, with the reason        *  edited after it was copied (no effect)
        !  ignored key
    """
    from .status import differences

    for line in differences(config):
        click.echo(line)


@click.command()
@_json
@click.pass_obj
def doctor(config: Config, as_json: bool) -> None:
    """Check bucket, clock, disk, work folder and container engine.

    Prints ok, warn or fail for each check, with the remedy; exits with 1 if one fails.
    """
    from .checks import FAIL
    from .doctor import run_checks

    results = list(run_checks(config, os.environ))
    rows = [{"name": r.name, "state": r.state, "text": r.text} for r in results]
    lines = [f"{r.state:4}  {r.name}: {r.text}" for r in results]
    click.echo(json.dumps(rows, indent=1) if as_json else "\n".join(lines))
    failed = [result.name for result in results if result.state == FAIL]
    if failed:
        count = f"{len(failed)} check{'s' * (len(failed) != 1)}"
        raise XcorError(f"{count} failed: {', '.join(failed)}")


COMMANDS = (
    status,
    logs,
    _operator_command("retry", "Retry a failed, rejected, cancelled or backing-off job."),
    _operator_command("cancel", "Cancel a job and stop its worker."),
    _operator_command("hold", "Hold a job: start no worker for it until it is released."),
    _operator_command("release", "Release a held job."),
    gc,
    rebuild_state,
    sync,
    doctor,
)
