"""The command line: text -> objects -> one call. Results on stdout, messages on stderr.

Heavy modules are imported where they are used, so that --help is quick.
"""

from __future__ import annotations

import errno
import gc
import json
import logging
import os
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from .atomic_files import explain
from .config import Config, check_source
from .errors import XcorError
from .logs import set_up as set_up_logs
from .operations.commands import COMMANDS

if TYPE_CHECKING:
    from .pipeline.datatypes import Progress
    from .service.daemon import Daemon
    from .workers.launcher import Launcher

log = logging.getLogger("xcor_daemon")

_BAR = "{desc}: {percentage:3.0f}% |{bar:20}| {n_fmt} of {total_fmt} days{postfix}"  # of tqdm
_FOLDER = click.Path(exists=True, file_okay=False, path_type=Path)
_processes = click.option("--processes", type=int, help="That correlate; 0 takes every core.")
_as_json = click.option("--json", "as_json", is_flag=True, help="Print JSON.")


def _launcher(command: Callable[..., None]) -> Callable[..., None]:
    """Options of the commands that start workers."""
    command = click.option("--image", help="That containers run from (XCOR_IMAGE).")(command)
    kinds = click.Choice(["local", "docker"])
    text = "Workers as processes or as containers (XCOR_LAUNCHER)."
    return click.option("--launcher", type=kinds, help=text)(command)


def _shard(
    _ctx: click.Context, _param: click.Parameter, text: str | None
) -> tuple[int, int] | None:
    """The two numbers of ``I/N``, such as 3/100."""
    if text is None:
        return None
    number, mark, of = text.partition("/")
    if mark and number.isdecimal() and of.isdecimal() and int(number) < int(of):
        return int(number), int(of)
    raise click.BadParameter(f"{text!r} is no shard; write I/N with 0 <= I < N, such as 3/100")


class _Commands(click.Group):
    """Prints an `XcorError` and exits with its code; any other exception is a bug."""

    def invoke(self, ctx: click.Context) -> Any:
        code = 0
        try:
            super().invoke(ctx)
            sys.stdout.flush()
        except XcorError as error:
            code = _explain(error)
        except OSError as error:
            if error.errno not in _OF_A_DISK:
                raise
            # What is no file of ours: the output of a command, or a cache of a library.
            name = (
                error.filename if isinstance(error.filename, str) else "the output of this command"
            )
            code = _explain(explain(Path(name), error))
        _let_go_of_full_streams()
        if code:
            ctx.exit(code)


_OF_A_DISK = (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EIO)


def _explain(error: XcorError) -> int:
    """Print an error; gives its exit code."""
    with suppress(OSError):  # stderr may be a file on the disk that is full
        click.echo(f"error: {error}", err=True)
    return error.exit_code


def _let_go_of_full_streams() -> None:
    """Drop what cannot be written: Python would try again at its end, and exit with 120."""
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except OSError:
            os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())


@click.group(cls=_Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="xcor-daemon")
@click.option("--bucket", help="S3 bucket of incoming/ and processed/ (XCOR_BUCKET).")
@click.option("--endpoint-url", help="S3 server that is not AWS (XCOR_ENDPOINT_URL).")
@click.option("--work-dir", type=click.Path(path_type=Path), help="Where jobs run (XCOR_WORK_DIR).")
@click.option("--interval", type=float, help="Seconds between two passes (XCOR_INTERVAL).")
@click.option("--max-parallel", type=int, help="Workers at a time (XCOR_MAX_PARALLEL).")
@click.option("--log-format", type=click.Choice(["text", "json"]), help="XCOR_LOG_FORMAT.")
@click.pass_context
def main(ctx: click.Context, /, **flags: Any) -> None:
    """Cross-correlate ambient noise: take jobs from S3, run them, publish the results.

    A flag beats an XCOR_* variable, which beats the default.
    """
    ctx.obj = Config.from_env(os.environ, **flags)
    set_up_logs(ctx.obj.log_format, log)


@main.command()
@_launcher
@click.pass_obj
def run(config: Config, /, **workers: Any) -> None:
    """Process jobs until SIGTERM or Ctrl-C; workers go on and are found again.

    \b
        xcor-daemon --bucket my-bucket run
    """
    with _daemon(_with(config, workers)) as (daemon, stop):
        daemon.run_forever(stop)


@main.command("run-once")
@click.option("--wait", is_flag=True, help="Go on until nothing is left to do.")
@_launcher
@click.pass_obj
def run_once(config: Config, /, wait: bool, **workers: Any) -> None:
    """Move the jobs that wait now as far as they go, then exit.

    \b
        xcor-daemon --bucket my-bucket run-once --wait
    """
    with _daemon(_with(config, workers)) as (daemon, stop):
        ended = daemon.run_once(wait, stop)
    for job in ended:
        click.echo(f"{job.id} {job.state} {job.reason}".rstrip())
    failed = [job.id for job in ended if job.state == "failed"]
    if wait and failed:
        raise XcorError(f"{len(failed)} of {len(ended)} jobs failed; see their xcor_log.txt.")


@contextmanager
def _daemon(config: Config) -> Iterator[tuple[Daemon, threading.Event]]:
    """The daemon of this configuration, holding its work folder, and what stops it."""
    from .service.daemon import Daemon, stop_on_signals
    from .service.systemd import Notifier
    from .storage import fault_injection
    from .storage.bucket import Bucket

    fault_injection.arm(config.fault)
    stop = stop_on_signals()
    launcher = _launcher_of(config)
    notifier = Notifier(os.environ)
    daemon = Daemon(Bucket.connect(config), launcher, config, notifier=notifier)
    with daemon.holding():
        yield daemon, stop


def _launcher_of(config: Config) -> Launcher:
    if config.launcher == "docker":
        from .workers.docker_engine import Engine
        from .workers.docker_launcher import DockerLauncher

        return DockerLauncher(Engine(os.environ), config)
    from .workers.launcher import LocalLauncher, worker_command

    return LocalLauncher(lambda job: worker_command(job, config), os.environ)


def _with(config: Config, workers: dict[str, Any]) -> Config:
    """The configuration with the flags that were given."""
    return replace(config, **{name: value for name, value in workers.items() if value is not None})


@main.command()
@click.argument("folder", type=_FOLDER)
@click.pass_obj
def submit(config: Config, folder: Path) -> None:
    """Send the CSV files of a folder as a job, as the page does; prints the job's id."""
    from .storage.bucket import Bucket
    from .web.submit import read_contents
    from .web.submit import submit as submit_job

    click.echo(submit_job(Bucket.connect(config), read_contents(folder)))


@main.command()
@click.argument("folder", type=_FOLDER)
def validate(folder: Path) -> None:
    """Check the CSV files of a folder; exits with 65 and every error (of many, the first 50)."""
    from .request.cost import check_files
    from .request.parse import StackRequest, read_files

    request, cost = check_files(read_files(folder))
    if cost is not None:
        what = f"correlates {cost.channels} channels in {cost.pairs} pairs over {cost.days} days"
    else:
        assert isinstance(request, StackRequest)
        what = f"stacks job {request.params.job}"
    click.echo(f"{folder}: good, it {what}")


@main.command()
@click.argument("folder", type=_FOLDER)
@_as_json
def estimate(folder: Path, as_json: bool) -> None:
    """Price the correlation job of a folder: pairs, windows, bytes, core-seconds."""
    from .errors import Problem, RequestError
    from .request.cost import check_files
    from .request.parse import XcorRequest, read_files
    from .request.stacking_params import STACKING
    from .workers.placement import needs

    request, found = check_files(read_files(folder))
    if not isinstance(request, XcorRequest) or found is None:
        raise RequestError([Problem(STACKING, 0, "", "", "is a stacking job; it has no price")])
    cost = asdict(found) | asdict(needs(request, found))
    lines = [f"{name:16}{value:>20,}" for name, value in cost.items()]
    click.echo(json.dumps(cost, indent=1) if as_json else "\n".join(lines))


@main.command()
@click.argument("folder", type=_FOLDER)
@click.option("--source", help="A configured name, archive:PATH, fdsn:URL-or-name or s3:NAME.")
@_processes
@click.option("--executor", type=click.Choice(["processes", "dask"]), help="XCOR_EXECUTOR.")
@click.option("--dask-address", help="tls://HOST:PORT of a scheduler (XCOR_DASK_ADDRESS).")
@click.option(
    "--shard", metavar="I/N", callback=_shard, help="One day of every N, from the I-th (0 to N-1)."
)
@click.option("--join", "joins", is_flag=True, help="All shards are through: stack and draw.")
@click.option("--images/--no-images", default=True, help="Draw the images of PLOT.")
@_as_json
@click.pass_obj
def correlate(
    config: Config,
    /,
    folder: Path,
    source: str | None,
    shard: tuple[int, int] | None,
    joins: bool,
    images: bool,
    as_json: bool,
    **flags: Any,
) -> None:
    """Correlate a folder that holds stations.csv and params.csv; results come beside them.

    \b
        xcor-daemon correlate my-job --source archive:/data/sds
        xcor-daemon correlate my-job --source s3:SCEDC --executor dask
        xcor-daemon correlate my-job --source s3:SCEDC --shard 3/100
    """
    from .pipeline.worker_process import set_up_worker_process
    from .request.cost import check_files

    set_up_worker_process()
    with _nothing_collected():
        from .pipeline.run import Crew, correlate_job, correlate_shard
        from .pipeline.sources import Access
    from .request.parse import XcorRequest, read_files, read_request
    from .workers.placement import PROCESSES, check_address, place

    config = replace(config, **{name: value for name, value in flags.items() if value is not None})
    if config.dask_address:
        check_address(config.dask_address)
    executor = config.executor or PROCESSES
    if config.executor or shard or joins:
        request = read_request(folder)
    else:
        request, found = check_files(read_files(folder))
        if isinstance(request, XcorRequest) and found is not None:
            executor = place(request, found, config)
    if isinstance(request, XcorRequest):
        source = request.params.source if source is None else source
    source = source or ""
    if ":" in source:
        check_source(source)
    else:
        source = config.source_named(source)
    token = Path(config.earthscope_token) if config.earthscope_token else None
    access = Access(config.cache_folder, token=token)
    named = config.sources
    with _progress_of(folder) as report:
        if shard:
            lost = correlate_shard(
                folder, source, shard, config.processes, report, sources=named, access=access
            )
            if lost:
                raise XcorError(f"{len(lost)} days failed; {lost[0]['day']}: {lost[0]['reason']}")
            return
        crew = Crew(executor, config.dask_address, joins)
        outputs = correlate_job(
            folder,
            source,
            config.processes,
            report,
            images,
            sources=named,
            access=access,
            crew=crew,
        )
    _show(outputs, folder, as_json)


@main.command()
@click.argument("folder", type=_FOLDER)
@click.option(
    "--corr", type=_FOLDER, required=True, help="Folder of the correlation job, or its CORR."
)
@_processes
@_as_json
@click.pass_obj
def stack(config: Config, folder: Path, corr: Path, processes: int | None, as_json: bool) -> None:
    """Stack correlations as stacking_params.csv of a folder says.

    \b
        xcor-daemon stack my-stack --corr my-job/CORR
    """
    from .pipeline.worker_process import set_up_worker_process

    set_up_worker_process()
    with _nothing_collected():
        from .pipeline.run import stack_job

    corr = corr / "CORR" if (corr / "CORR").is_dir() else corr
    with _progress_of(folder) as report:
        outputs = stack_job(folder, corr, _chosen(processes, config), report)
    _show(outputs, folder, as_json)


@main.command()
@click.argument("where")
@click.argument("folder", type=click.Path(file_okay=False, path_type=Path))
@click.option("--format", "kind", default="sac", show_default=True,
              type=click.Choice(["sac", "mseed", "npz", "csv", "hdf5"]))  # fmt: skip
@click.option("--what", default="linear", show_default=True,
              help="Method of a stack, or corr for every window.")  # fmt: skip
@click.option("--pair", "pairs", multiple=True,
              help="FIRST|SECOND, or a channel or station NET.STA in either.")  # fmt: skip
@click.option("--component", "components", multiple=True, help="Such as ZZ.")
@click.option("--min-distance", type=float, default=0.0, help="km")
@click.option("--max-distance", type=float, default=float("inf"), help="km")
@click.option("--day", "days", multiple=True, help="Such as 2019-01-01.")
def export(where: str, folder: Path, kind: str, what: str, **selected: Any) -> None:
    """Write results as files of other tools, into FOLDER; prints how many.

    WHERE is a job's folder, s3://BUCKET/processed/ID or the public address of that.

    \b
        xcor-daemon export my-job sac-files --format sac --component ZZ --max-distance 100
    """
    from .results import Selection, open_results
    from .results import export as write

    with open_results(where) as results:
        written = write(results, folder, kind, what, Selection(**selected))
    click.echo(f"{len(written)} files in {folder}")


@main.command()
@click.option("--once", is_flag=True, help="Run the sample job and stop.")
@click.option("--port", type=int, help="Of the page; a free one if not given.")
def demo(once: bool, port: int | None) -> None:
    """Run the whole system on this machine: S3, data centre, page and sample data."""
    from .demo import run_demo

    run_demo(once, port)


@main.command()
@click.argument("folder", type=click.Path(file_okay=False, path_type=Path))
@click.option("--results", required=True, help="URL under which the bucket can be read.")
@click.option("--submit", default="", help="URL of POST /jobs; without it, the page offers files.")
@click.option(
    "--services",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="JSON with datacenters, basemaps, cores, usd_per_core_hour; see services.json.",
)
def page(folder: Path, results: str, submit: str, services: Path | None) -> None:
    """Write the files of the page, for a bucket or any other web server.

    \b
        xcor-daemon page public --results https://xcor.s3.amazonaws.com --submit https://...
    """
    from .web.page import read_services, write_page

    names = write_page(read_services(results, submit, services), folder)
    click.echo(f"{folder}: {len(names)} files")


def _show(outputs: dict[str, Any], folder: Path, as_json: bool) -> None:
    from .report import job_report

    click.echo(json.dumps(outputs, indent=1) if as_json else "\n".join(job_report(outputs, folder)))


def _chosen(processes: int | None, config: Config) -> int:
    return config.processes if processes is None else processes


@contextmanager
def _nothing_collected() -> Iterator[None]:
    """Import what stays to the end: to look through it for garbage takes a tenth of the time."""
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
        gc.freeze()
    finally:
        if was_enabled:
            gc.enable()


@contextmanager
def _progress_of(folder: Path) -> Iterator[Callable[[Progress], None]]:
    """Show a job's progress: a bar in a terminal, elsewhere a line for every finished day."""
    job_id, finished = folder.resolve().name, 0
    if not sys.stderr.isatty():

        def tell(progress: Progress) -> None:
            nonlocal finished
            if progress.days_done != finished:
                finished = progress.days_done
                days = f"{finished} of {progress.days} days"
                log.info("job %s: %s (%s)", job_id, progress.stage, days)

        yield tell
        log.info("job %s: finished", job_id)
        return
    from tqdm import tqdm

    # tqdm's own rate counts days of an earlier run, by a clock that may be set meanwhile.
    with tqdm(desc=job_id, file=sys.stderr, bar_format=_BAR) as bar:

        def show(progress: Progress) -> None:
            bar.total, bar.n = progress.days or None, round(progress.days_done + progress.part, 2)
            left = f", about {progress.eta:,.0f} s left" if progress.eta else ""
            bar.set_postfix_str(progress.stage + left)

        yield show


for command in COMMANDS:
    main.add_command(command)

if __name__ == "__main__":
    main()
