"""The command line: parse options, call one function, print. Results on stdout, messages on stderr.

Heavy modules are imported inside the commands that use them, which keeps --help fast.
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

from . import __version__
from .atomic_files import explain
from .config import Config, check_source, option_help
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
_processes = click.option("--processes", type=int, help=option_help("processes"))
_as_json = click.option("--json", "as_json", is_flag=True, help="Print JSON instead of text.")

# The sections of `xcor-daemon --help` and their commands, in order.
SECTIONS = {
    "Run jobs locally": ("validate", "estimate", "correlate", "stack"),
    "Results": ("export",),
    "Send and operate jobs": ("submit", "status", "logs", "retry", "cancel", "hold", "release"),
    "Operate the service": (*("run", "run-once", "sync", "gc", "rebuild-state", "doctor", "page"),),
    "Demo": ("demo",),
}


def _launcher(command: Callable[..., None]) -> Callable[..., None]:
    """Options of the commands that start workers."""
    command = click.option("--image", help=option_help("image"))(command)
    kinds = click.Choice(["local", "docker"])
    return click.option("--launcher", type=kinds, help=option_help("launcher"))(command)


def _shard(
    _ctx: click.Context, _param: click.Parameter, text: str | None
) -> tuple[int, int] | None:
    """Parse ``I/N``, such as 3/100, to two numbers."""
    if text is None:
        return None
    number, mark, of = text.partition("/")
    if mark and number.isdecimal() and of.isdecimal() and int(number) < int(of):
        return int(number), int(of)
    raise click.BadParameter(
        f"{text!r} is not a valid shard; write I/N with 0 <= I < N, such as 3/100"
    )


class _Commands(click.Group):
    """Commands in sections; an `XcorError` ends one with a message and its exit code.

    Any other exception is a bug and keeps its traceback.
    """

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the sections of --help."""
        # The column of the names has one width in all sections.
        width = max(map(len, self.commands))
        for title, names in SECTIONS.items():
            limit = formatter.width - width - 6
            rows = [
                (f"{name:{width}}", self.commands[name].get_short_help_str(limit)) for name in names
            ]
            with formatter.section(title):
                formatter.write_dl(rows)

    def invoke(self, ctx: click.Context) -> Any:
        code = 0
        try:
            super().invoke(ctx)
            sys.stdout.flush()
        except XcorError as error:
            code = _explain(error)
        except (click.ClickException, click.Abort, click.exceptions.Exit):
            raise
        except OSError as error:
            if error.errno not in _OF_A_DISK:
                _report_bug()
                raise
            code = _explain(_disk_error(error))
        except Exception:
            _report_bug()
            raise
        _let_go_of_full_streams()
        if code:
            ctx.exit(code)


_OF_A_DISK = (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EIO)


def _disk_error(error: OSError) -> XcorError:
    """A full or broken disk under a file of another package, or under the command's output."""
    name = error.filename if isinstance(error.filename, str) else "the output of this command"
    return explain(Path(name), error)


def _report_bug() -> None:
    """Print the versions that a report of a bug needs, above its traceback."""
    import platform

    system = f"Python {platform.python_version()}, {platform.platform()}"
    with suppress(OSError):
        text = (
            f"this is a bug in xcor-daemon {__version__} ({system}); report it with the traceback:"
        )
        click.echo(text, err=True)


def _explain(error: XcorError) -> int:
    """Print an error; return its exit code."""
    with suppress(OSError):  # stderr may be a file on the disk that is full
        click.echo(f"error: {error}", err=True)
    return error.exit_code


def _let_go_of_full_streams() -> None:
    """Drop output that cannot be written: Python would retry at exit and end with status 120."""
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except OSError:
            os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())


@click.group(cls=_Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="xcor-daemon")
@click.option("--bucket", metavar="NAME", help=option_help("bucket"))
@click.option("--endpoint-url", metavar="URL", help=option_help("endpoint_url"))
@click.option(
    "--work-dir", metavar="FOLDER", type=click.Path(path_type=Path), help=option_help("work_dir")
)
@click.option("--interval", metavar="SECONDS", type=float, help=option_help("interval"))
@click.option("--max-parallel", metavar="N", type=int, help=option_help("max_parallel"))
@click.option("--log-format", type=click.Choice(["text", "json"]), help=option_help("log_format"))
@click.pass_context
def main(ctx: click.Context, /, **flags: Any) -> None:
    """Cross-correlate ambient seismic noise, in a local folder or as a service on S3.

    An option overrides its XCOR_* variable, which overrides the default.

    \b
        xcor-daemon correlate my-job --source archive:/data/sds
        xcor-daemon --bucket my-bucket run
    """
    ctx.obj = Config.from_env(os.environ, **flags)
    set_up_logs(ctx.obj.log_format, log)


@main.command()
@_launcher
@click.pass_obj
def run(config: Config, /, **workers: Any) -> None:
    """Run the daemon until SIGTERM or Ctrl-C.

    Running workers continue and are picked up at the next start.

    \b
        xcor-daemon --bucket my-bucket run
    """
    with _daemon(_override(config, workers)) as (daemon, stop):
        daemon.run_forever(stop)


@main.command("run-once")
@click.option("--wait", is_flag=True, help="Repeat until no job is left to process.")
@_launcher
@click.pass_obj
def run_once(config: Config, /, wait: bool, **workers: Any) -> None:
    """Run one pass over the waiting and running jobs, then exit.

    \b
        xcor-daemon --bucket my-bucket run-once --wait
    """
    with _daemon(_override(config, workers)) as (daemon, stop):
        ended = daemon.run_once(wait, stop)
    for job in ended:
        click.echo(f"{job.id} {job.state} {job.reason}".rstrip())
    failed = [job.id for job in ended if job.state == "failed"]
    if wait and failed:
        raise XcorError(f"{len(failed)} of {len(ended)} jobs failed; see `xcor-daemon logs ID`.")


@contextmanager
def _daemon(config: Config) -> Iterator[tuple[Daemon, threading.Event]]:
    """The daemon of a configuration, with its work folder locked, and the event that stops it."""
    from .service.daemon import Daemon
    from .service.signals import stop_on_signals
    from .service.systemd import Notifier
    from .storage import fault_injection
    from .storage.bucket import Bucket

    fault_injection.enable(config.fault)
    stop = stop_on_signals()
    launcher = _launcher_of(config)
    notifier = Notifier(os.environ)
    daemon = Daemon(Bucket.connect(config), launcher, config, notifier=notifier)
    with daemon.locked():
        yield daemon, stop


def _launcher_of(config: Config) -> Launcher:
    if config.launcher == "docker":
        from .workers.docker_engine import Engine
        from .workers.docker_launcher import DockerLauncher

        return DockerLauncher(Engine(os.environ), config)
    from .workers.launcher import worker_command
    from .workers.local_launcher import LocalLauncher

    return LocalLauncher(lambda job: worker_command(job, config), os.environ)


def _override(config: Config, workers: dict[str, Any]) -> Config:
    """The configuration with the given options in place of its values."""
    return replace(config, **{name: value for name, value in workers.items() if value is not None})


@main.command()
@click.argument("folder", type=_FOLDER)
@click.pass_obj
def submit(config: Config, folder: Path) -> None:
    """Submit the CSV files of a folder as a job and print its id."""
    from .storage.bucket import Bucket
    from .web.submit import read_contents
    from .web.submit import submit as submit_job

    click.echo(submit_job(Bucket.connect(config), read_contents(folder)))


@main.command()
@click.argument("folder", type=_FOLDER)
def validate(folder: Path) -> None:
    """Check the CSV files of a job and report every error.

    Exits with 65 if there are errors; prints the first 50.
    """
    from .request.cost import check_files
    from .request.parse import StackRequest, read_files

    request, cost = check_files(read_files(folder))
    if cost is not None:
        counts = ((cost.channels, "channel"), (cost.pairs, "pair"), (cost.days, "day"))
        summary = ", ".join(f"{n} {noun}{'s' * (n != 1)}" for n, noun in counts)
    else:
        assert isinstance(request, StackRequest)
        summary = f"stacks job {request.params.job}"
    click.echo(f"{folder}: valid; {summary}")


@main.command()
@click.argument("folder", type=_FOLDER)
@_as_json
def estimate(folder: Path, as_json: bool) -> None:
    """Estimate pairs, windows, bytes and core-seconds of a job."""
    from .errors import Problem, RequestError
    from .request.cost import check_files, requirements
    from .request.parse import XcorRequest, read_files
    from .request.stacking_params import STACKING

    request, found = check_files(read_files(folder))
    if not isinstance(request, XcorRequest) or found is None:
        raise RequestError(
            [
                Problem(
                    STACKING, 0, "", "", "is a stacking job; only correlation jobs can be estimated"
                )
            ]
        )
    cost = asdict(found) | requirements(request, found).to_json()
    lines = [f"{name:16}{value:>20,}" for name, value in cost.items()]
    click.echo(json.dumps(cost, indent=1) if as_json else "\n".join(lines))


@main.command()
@click.argument("folder", type=_FOLDER)
@click.option(
    "--source",
    help="Source of waveforms: archive:PATH, fdsn:NAME-or-URL, s3:NAME or a configured name "
    "(XCOR_SOURCE).",
)
@_processes
@click.option("--executor", type=click.Choice(["processes", "dask"]), help=option_help("executor"))
@click.option("--dask-address", metavar="URL", help=option_help("dask_address"))
@click.option(
    "--shard",
    metavar="I/N",
    callback=_shard,
    help="Process every N-th day, starting with day I (0 <= I < N).",
)
@click.option(
    "--join",
    "combine_shards",
    is_flag=True,
    help="Combine finished shards: stack, plot and write the summary.",
)
@click.option("--images/--no-images", default=True, help="Write the images of PLOT (default: yes).")
@_as_json
@click.pass_obj
def correlate(
    config: Config,
    /,
    folder: Path,
    source: str | None,
    shard: tuple[int, int] | None,
    combine_shards: bool,
    images: bool,
    as_json: bool,
    **flags: Any,
) -> None:
    """Correlate the channels of a job folder.

    FOLDER holds stations.csv and params.csv; results are written to it. A stopped run continues
    with the same command: finished days are kept.

    \b
        xcor-daemon correlate my-job --source archive:/data/sds
        xcor-daemon correlate my-job --source s3:SCEDC --executor dask
        xcor-daemon correlate my-job --source s3:SCEDC --shard 3/100
    """
    from .pipeline.worker_process import set_up_worker_process
    from .request.cost import check_files

    set_up_worker_process()
    with _imports_without_gc():
        from .pipeline.run import ExecutionOptions, correlate_job, correlate_shard
        from .pipeline.sources import Access
    from .request.parse import XcorRequest, read_files, read_request
    from .workers.placement import PROCESSES, check_address, choose_executor

    config = replace(config, **{name: value for name, value in flags.items() if value is not None})
    if config.dask_address:
        check_address(config.dask_address)
    executor = config.executor or PROCESSES
    if config.executor or shard or combine_shards:
        request = read_request(folder)
    else:
        request, found = check_files(read_files(folder))
        if isinstance(request, XcorRequest) and found is not None:
            executor = choose_executor(request, found, config)
    if isinstance(request, XcorRequest):
        source = request.params.source if source is None else source
    source = source or ""
    if ":" in source:
        check_source(source)
    else:
        source = config.source_named(source)
    token = Path(config.earthscope_token) if config.earthscope_token else None
    access = Access(config.cache_folder, token_file=token)
    named = config.sources
    with _progress_of(folder) as report:
        if shard:
            failed = correlate_shard(
                folder, source, shard, config.processes, report, sources=named, access=access
            )
            if failed:
                first = f"{failed[0]['day']}: {failed[0]['reason']}"
                raise XcorError(f"{len(failed)} days failed; the first, {first}")
            return
        execution = ExecutionOptions(executor, config.dask_address, combine_shards)
        outputs = correlate_job(
            folder,
            source,
            config.processes,
            report,
            images,
            sources=named,
            access=access,
            execution=execution,
        )
    _print_outputs(outputs, folder, as_json)


@main.command()
@click.argument("folder", type=_FOLDER)
@click.option(
    "--corr", type=_FOLDER, required=True, help="Folder of a finished correlation job, or its CORR."
)
@_processes
@_as_json
@click.pass_obj
def stack(config: Config, folder: Path, corr: Path, processes: int | None, as_json: bool) -> None:
    """Stack the correlations of a finished job.

    FOLDER holds stacking_params.csv; results are written to it.

    \b
        xcor-daemon stack my-stack --corr my-job/CORR
    """
    from .pipeline.worker_process import set_up_worker_process

    set_up_worker_process()
    with _imports_without_gc():
        from .pipeline.run import stack_job

    corr = corr / "CORR" if (corr / "CORR").is_dir() else corr
    with _progress_of(folder) as report:
        outputs = stack_job(folder, corr, _process_count(processes, config), report)
    _print_outputs(outputs, folder, as_json)


@main.command()
@click.argument("where")
@click.argument("folder", type=click.Path(file_okay=False, path_type=Path))
@click.option(
    "--format",
    "kind",
    default="sac",
    show_default=True,
    type=click.Choice(["sac", "mseed", "npz", "csv", "hdf5"]),
    help="Format of the files.",
)
@click.option(
    "--what",
    default="linear",
    show_default=True,
    metavar="METHOD",
    help="Method of a stack, or corr for every window.",
)
@click.option(
    "--pair",
    "pairs",
    multiple=True,
    help="Pairs: FIRST|SECOND, or a channel or station (NET.STA) of either side; repeatable.",
)
@click.option(
    "--component", "components", multiple=True, help="Components, such as ZZ; repeatable."
)
@click.option(
    "--min-distance",
    metavar="KM",
    type=float,
    default=0.0,
    help="Minimum distance of a pair in km.",
)
@click.option(
    "--max-distance",
    metavar="KM",
    type=float,
    default=float("inf"),
    help="Maximum distance of a pair in km.",
)
@click.option("--day", "days", multiple=True, help="Days, such as 2019-01-01; repeatable.")
def export(where: str, folder: Path, kind: str, what: str, **selected: Any) -> None:
    """Export results as SAC, miniSEED, NumPy, CSV or HDF5.

    WHERE is a job's folder, s3://BUCKET/processed/ID or its public URL; files are written to
    FOLDER.

    \b
        xcor-daemon export my-job sac-files --format sac --component ZZ --max-distance 100
    """
    from .results import Selection, open_results
    from .results import export as write

    with open_results(where) as results:
        written = write(results, folder, kind, what, Selection(**selected))
    click.echo(f"{len(written)} files in {folder}")


@main.command()
@click.option("--once", is_flag=True, help="Exit when the sample job has ended.")
@click.option(
    "--port", type=int, metavar="PORT", help="Port of the web page (default: any free port)."
)
def demo(once: bool, port: int | None) -> None:
    """Run the whole system on this machine, with sample data.

    Starts an S3 server, an FDSN data centre, the daemon and the web page, and submits a sample job.
    """
    from .demo import run_demo

    run_demo(once, port)


@main.command()
@click.argument("folder", type=click.Path(file_okay=False, path_type=Path))
@click.option("--results", required=True, metavar="URL", help="URL of the results bucket.")
@click.option(
    "--submit",
    default="",
    metavar="URL",
    help="URL of POST /jobs; without it, the page offers the CSV files instead.",
)
@click.option(
    "--services",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="JSON file with data centres and base maps (default: services.json of this package).",
)
def page(folder: Path, results: str, submit: str, services: Path | None) -> None:
    """Write the files of the web page for a bucket or web server.

    \b
        xcor-daemon page public --results https://xcor.s3.amazonaws.com --submit https://...
    """
    from .web.page import read_services, write_page

    names = write_page(read_services(results, submit, services), folder)
    click.echo(f"{folder}: {len(names)} files")


def _print_outputs(outputs: dict[str, Any], folder: Path, as_json: bool) -> None:
    from .report import job_report

    click.echo(json.dumps(outputs, indent=1) if as_json else "\n".join(job_report(outputs, folder)))


def _process_count(processes: int | None, config: Config) -> int:
    return config.processes if processes is None else processes


@contextmanager
def _imports_without_gc() -> Iterator[None]:
    """Import with the garbage collector off.

    The modules live until the process exits; collecting them costs 10 % of the start.
    """
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
