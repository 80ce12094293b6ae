"""Settings: a flag beats a variable, which beats the default; a wrong one is refused at once."""

from pathlib import Path

import pytest

from xcor_daemon.config import Config, check_source
from xcor_daemon.errors import ConfigError


def test_without_flags_and_variables_the_defaults_hold():
    assert Config.from_env({}) == Config()
    assert Config.from_env({"PATH": "/bin", "OTHER_BUCKET": "b", "XCOR_BUCKET": ""}) == Config()


def test_a_variable_beats_the_default_and_a_flag_beats_both():
    environ = {"XCOR_BUCKET": "from-env", "XCOR_INTERVAL": "7.5", "XCOR_MAX_PARALLEL": "3"}

    config = Config.from_env(environ, bucket="from-flag", interval=None)

    assert (config.bucket, config.interval, config.max_parallel) == ("from-flag", 7.5, 3)


def test_a_flag_of_zero_is_a_value_and_not_an_absent_one():
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
        ("INTERVAL", "0.01", "interval=0.01 s; it must be from 0.05"),
        ("INTERVAL", "nan", "interval=nan"),
        ("INTERVAL", "inf", "to 1e[+]09 s"),
        ("SETTLE", "-1", "settle=-1.0 s"),
        ("DEADLINE", "1e300", "deadline=1e[+]300 s"),
        ("MAX_PARALLEL", "0", "max_parallel=0; it must be at least 1"),
        ("MAX_ATTEMPTS", "0", "max_attempts=0"),
        ("PROCESSES", "-1", "processes=-1"),
        ("PROCESSES", "two", "XCOR_PROCESSES='two' is not a number"),
        ("PROCESSES", "2.5", "XCOR_PROCESSES='2.5' is not a number"),
        ("LAUNCHER", "podman", "launcher='podman'; it must be local or docker"),
        ("WORKER_MEMORY", "1e6", "worker_memory=1000000.0 bytes; it must be at least 2.7e8, or 0"),
        ("WORKER_MEMORY", "nan", "worker_memory=nan"),
        ("WORKER_CPUS", "-1", "worker_cpus=-1.0; it must be at least 0.01, or 0"),
        ("WORKER_PIDS", "4", "worker_pids=4; it must be at least 16"),
        ("WORKER_NETWORK", "host", "would reach this machine's own services"),
        ("WORKER_NETWORK", "a b", "worker_network='a b' is no name of a network"),
        ("SOURCE", "http://example.org", "neither archive:PATH nor fdsn:"),
        ("SOURCES", "demo", "source '' is neither"),
        ("SOURCES", "bad name=fdsn:IRIS", "XCOR_SOURCES: 'bad name' is no name"),
        ("SOURCES", "a=fdsn:", "source 'fdsn:' is neither"),
    ],
)
def test_a_wrong_setting_is_refused_with_its_name_and_value(variable, value, message):
    with pytest.raises(ConfigError, match=message):
        Config.from_env({f"XCOR_{variable}": value})


def test_a_bucket_is_asked_for_only_where_it_is_needed():
    assert Config(bucket="esip-xcor").need_bucket() == "esip-xcor"
    with pytest.raises(ConfigError, match="set XCOR_BUCKET or give --bucket NAME"):
        Config().need_bucket()


def test_a_source_that_is_not_configured_is_refused_with_those_that_are():
    config = Config(sources={"zeta": "archive:/z", "alpha": "archive:/a"})

    with pytest.raises(ConfigError, match="'demo' is not configured here; configured: alpha, zeta"):
        config.source_named("demo")
    with pytest.raises(ConfigError, match="configured: none"):
        Config().source_named("demo")


@pytest.mark.parametrize("source", ["archive:/data", "fdsn:EARTHSCOPE", "fdsn:http://127.0.0.1:1"])
def test_archives_and_data_centres_are_sources(source):
    check_source(source)


@pytest.mark.parametrize("source", ["", "archive:", "s3:", "EARTHSCOPE", "file:///etc/passwd"])
def test_nothing_else_is_a_source(source):
    with pytest.raises(ConfigError):
        check_source(source)
