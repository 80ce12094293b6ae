"""Commands of those who run the service."""

from __future__ import annotations

import contextlib
import json
import os
import time

import click

from ..config import Config
from ..errors import XcorError
from ..logs import harmless

_json = click.option("--json", "as_json", is_flag=True, help="Print JSON.")
_dry_run = click.option("--dry-run", is_flag=True, help="Change nothing.")


@click.command()
@click.argument("job_id", required=False)
@_json
@click.option("--watch", is_flag=True, help="Show it again every other second.")
@click.pass_obj
def status(config: Config, job_id: str | None, as_json: bool, watch: bool) -> None:
    """Show the jobs, or one of them, as this machine and S3 know them."""
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
        return json.dumps(rows, indent=1) if as_json else harmless(format_table(rows))
    job = describe_job(config, job_id)
    lines = [f"{name}: {value}" for name, value in job.items() if name != "log_tail"]
    shown = harmless("\n".join([*lines, *job["log_tail"]]))
    return json.dumps(job, indent=1) if as_json else shown


@click.command()
@click.argument("job_id")
@click.pass_obj
def logs(config: Config, job_id: str) -> None:
    """Print the log of a job's worker."""
    from .status import read_log

    click.echo(harmless(read_log(config, job_id)), nl=False)


def _ordering(action: str, text: str) -> click.Command:
    """A command that leaves an order for the daemon."""

    @click.command(action, help=text)
    @click.argument("job_id")
    @click.pass_obj
    def command(config: Config, job_id: str) -> None:
        from ..storage.operator_commands import give

        give(config.work_dir, job_id, action)
        click.echo(f"job {job_id}: the next pass of the daemon will {action} it")

    return command


@click.command()
@_dry_run
@click.pass_obj
def gc(config: Config, dry_run: bool) -> None:
    """Remove folders of jobs that are published, refused, cancelled or failed 7 days ago.

    The daemon does so by itself where it needs room.
    """
    from .recovery import collect_garbage

    for line in collect_garbage(config.work_dir, dry_run):
        click.echo(line)


@click.command("rebuild-state")
@click.pass_obj
def rebuild_state(config: Config) -> None:
    """Set damaged job folders aside, so that their jobs are taken from S3 again."""
    from .recovery import rebuild_state as rebuild

    for line in rebuild(config.work_dir):
        click.echo(line)


@click.command()
@click.option("--dry-run", is_flag=True, required=True, help="The only way: `run` copies.")
@click.pass_obj
def sync(config: Config, dry_run: bool) -> None:
    """Show what a pass would copy from incoming/, and why not.

    \b
        +  would be copied now         =  is here as it is in S3
        -  waits, with the reason      *  was edited after it was copied; that changes nothing
        !  is no file of a job
    """
    from .status import differences

    for line in differences(config):
        click.echo(line)


@click.command()
@_json
@click.pass_obj
def doctor(config: Config, as_json: bool) -> None:
    """Check credentials, the bucket and its setup, clock, disk, engine; exits with 1 on failure."""
    from .checks import FAIL
    from .doctor import examine

    findings = list(examine(config, os.environ))
    rows = [{"name": f.name, "state": f.state, "text": f.text} for f in findings]
    lines = [f"{f.state:4}  {f.name}: {f.text}" for f in findings]
    click.echo(json.dumps(rows, indent=1) if as_json else "\n".join(lines))
    failed = [finding.name for finding in findings if finding.state == FAIL]
    if failed:
        raise XcorError(f"not well: {', '.join(failed)}")


COMMANDS = (
    status,
    logs,
    _ordering("retry", "Try a job again that failed, was refused or cancelled, or waits to."),
    _ordering("cancel", "End a job; its worker is stopped."),
    _ordering("hold", "Start no new worker for a job until it is released."),
    _ordering("release", "Let a held job go on."),
    gc,
    rebuild_state,
    sync,
    doctor,
)
