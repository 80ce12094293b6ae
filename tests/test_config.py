"""Settings: an option overrides a variable, which overrides the default; values are checked."""

from pathlib import Path

import pytest

from xcor_daemon.config import Config, check_source
from xcor_daemon.errors import ConfigError


def test_the_defaults_apply_without_options_and_variables():
    assert Config.from_env({}) == Config()
    assert Config.from_env({"PATH": "/bin", "OTHER_BUCKET": "b", "XCOR_BUCKET": ""}) == Config()


def test_a_variable_overrides_the_default_and_an_option_overrides_both():
    environ = {"XCOR_BUCKET": "from-env", "XCOR_INTERVAL": "7.5", "XCOR_MAX_PARALLEL": "3"}

    config = Config.from_env(environ, bucket="from-flag", interval=None)

    assert (config.bucket, config.interval, config.max_parallel) == ("from-flag", 7.5, 3)


def test_an_option_of_zero_is_a_value():
    assert Config.from_env(
        {"XCOR_PROCESSES": "4", "XCOR_SETTLE": "9"}, processes=0, settle=0.0
    ) == Config(processes=0, settle=0.0)


def test_a_path_and_the_sources_are_read():
    config = Config.from_env(
        {
            "XCOR_WORK_DIR": "/var/lib/xcor",
            "XCOR_SOURCES": "demo=fdsn:http://127.0.0.1:8080/?a=b; local = archive:/data ;",
        }
    )

    assert config.work_dir == Path("/var/lib/xcor")
    assert config.source_named("demo") == "fdsn:http://127.0.0.1:8080/?a=b"
    assert config.source_named("local") == "archive:/data"
    assert config.source_named("") == config.source


@pytest.mark.parametrize(
    ("variable", "value", "message"),
    [
        (
            "INTERVAL",
            "0.01",
            "interval = 0.01 is invalid; XCOR_INTERVAL must be 0, or at least 0.05 s",
        ),
        ("INTERVAL", "nan", "interval = nan is invalid; XCOR_INTERVAL must be from 0 to 1e[+]09 s"),
        ("INTERVAL", "inf", "to 1e[+]09 s"),
        ("SETTLE", "-1", "settle = -1.0 is invalid"),
        ("DEADLINE", "1e300", "deadline = 1e[+]300 is invalid"),
        ("MAX_PARALLEL", "0", "max_parallel = 0 is invalid; XCOR_MAX_PARALLEL must be at least 1"),
        ("MAX_ATTEMPTS", "0", "max_attempts = 0 is"),
        ("PROCESSES", "-1", "processes = -1 is"),
        ("PROCESSES", "two", "XCOR_PROCESSES='two' is not a number"),
        ("PROCESSES", "2.5", "XCOR_PROCESSES='2.5' is not a number"),
        (
            "LAUNCHER",
            "podman",
            "launcher = 'podman' is invalid; XCOR_LAUNCHER must be local or docker",
        ),
        (
            "WORKER_MEMORY",
            "1e6",
            "worker_memory = 1000000.0 is invalid; .* 0, or at least 2.7e8 bytes",
        ),
        ("WORKER_MEMORY", "nan", "worker_memory = nan"),
        ("WORKER_CPUS", "-1", "worker_cpus = -1.0 is invalid; .* be 0, or at least 0.01"),
        ("WORKER_PIDS", "4", "worker_pids = 4 is invalid; XCOR_WORKER_PIDS must be at least 16"),
        ("WORKER_NETWORK", "host", "access to this machine's services; name another network"),
        ("WORKER_NETWORK", "a b", "worker_network = 'a b' is invalid; .* be 1 to 64 letters"),
        (
            "SOURCE",
            "http://example.org",
            "is not valid; write archive:PATH, fdsn:NAME-or-URL or s3:NAME",
        ),
        ("SOURCES", "demo", "source '' is not valid"),
        (
            "SOURCES",
            "bad name=fdsn:IRIS",
            "XCOR_SOURCES: 'bad name' is not a valid name; write NAME=SOURCE",
        ),
        ("SOURCES", "a=fdsn:", "source 'fdsn:' is not valid"),
    ],
)
def test_an_invalid_setting_is_an_error_with_its_value_and_limit(variable, value, message):
    with pytest.raises(ConfigError, match=message):
        Config.from_env({f"XCOR_{variable}": value})


def test_a_bucket_is_required_only_by_commands_that_use_it():
    assert Config(bucket="esip-xcor").need_bucket() == "esip-xcor"
    with pytest.raises(ConfigError, match="set XCOR_BUCKET or pass --bucket NAME"):
        Config().need_bucket()


def test_an_unknown_source_is_an_error_with_the_known_ones():
    config = Config(sources={"zeta": "archive:/z", "alpha": "archive:/a"})

    with pytest.raises(
        ConfigError, match="'demo' is not configured; XCOR_SOURCES has: alpha, zeta"
    ):
        config.source_named("demo")
    with pytest.raises(ConfigError, match="XCOR_SOURCES has: none"):
        Config().source_named("demo")


@pytest.mark.parametrize("source", ["archive:/data", "fdsn:EARTHSCOPE", "fdsn:http://127.0.0.1:1"])
def test_archives_and_data_centres_are_sources(source):
    check_source(source)


@pytest.mark.parametrize("source", ["", "archive:", "s3:", "EARTHSCOPE", "file:///etc/passwd"])
def test_other_texts_are_not_sources(source):
    with pytest.raises(ConfigError):
        check_source(source)
