"""``import xcor_daemon``: its names, its imports, and its functions, which jobs call."""

from __future__ import annotations

import ast
import doctest
import operator
import re
import shutil
import subprocess
import sys
from datetime import date
from pathlib import Path

import numpy as np
import pytest
from paths import ROOT

import xcor_daemon
from xcor_daemon.errors import NoDataError
from xcor_daemon.pipeline.datatypes import DAY_NS, day_start
from xcor_daemon.pipeline.hdf5.correlation_file import CorrFile
from xcor_daemon.pipeline.preprocessing.band import margin
from xcor_daemon.pipeline.preprocessing.channel import prepare
from xcor_daemon.pipeline.sources import open_source

PUBLIC = sorted({*xcor_daemon._FUNCTIONS, *xcor_daemon._MODULES})
DAY = date(2019, 1, 1)
SAMPLE = ROOT / "xcor_daemon/demo/data"


def test_the_import_alone_loads_nothing_else():
    code = "import sys; old = set(sys.modules); import xcor_daemon; print(set(sys.modules) - old)"
    loaded = subprocess.check_output([sys.executable, "-c", code], text=True)

    assert loaded.strip() == "{'xcor_daemon'}"


@pytest.mark.parametrize("name", PUBLIC)
def test_a_public_name_is_found_where_it_lives_and_is_documented(name):
    public = getattr(xcor_daemon, name)

    assert public.__doc__
    home = (xcor_daemon._FUNCTIONS | xcor_daemon._MODULES)[name]
    module = public.__name__ if name in xcor_daemon._MODULES else public.__module__
    assert f"{module}.".startswith(f"xcor_daemon.{home}.")
    assert name in dir(xcor_daemon)


def test_type_checkers_read_the_names_that_are_loaded():
    tree = ast.parse(Path(xcor_daemon.__file__).read_text())
    (block,) = (node for node in tree.body if isinstance(node, ast.If))
    declared = {(alias.asname, node.module) for node in block.body for alias in node.names}

    packages = {"plots": "pipeline", "stack": "pipeline", "dvv": "pipeline.measure"}
    assert declared == set((xcor_daemon._FUNCTIONS | packages).items())


def test_a_name_that_is_not_public_is_an_attribute_error():
    misspelt = "whitten"

    with pytest.raises(AttributeError, match="module 'xcor_daemon' has no attribute 'whitten'"):
        getattr(xcor_daemon, misspelt)


def test_the_functions_give_the_bytes_of_a_job(tmp_path):
    xc = xcor_daemon
    lines = (SAMPLE / "job/stations.csv").read_text().splitlines(keepends=True)
    chosen = [lines[0], *(line for line in lines if "NB200" in line or "NBO00" in line)]
    (tmp_path / "stations.csv").write_text("".join(chosen))
    shutil.copy(SAMPLE / "job/params.csv", tmp_path)
    source = f"archive:{SAMPLE}"
    xc.correlate_job(tmp_path, source, processes=1, images=False)
    request = xc.read_request(tmp_path)
    params, channels = request.params, request.channels
    series, windows = [], []
    archive = open_source(source)
    aside, midnight = round(margin(params) * 1e9), day_start(DAY)
    metadata = archive.metadata(channels, params.response)
    for channel, samples in archive.fetch(channels, midnight - aside, midnight + DAY_NS + aside):
        assert not isinstance(samples, NoDataError)
        epochs = metadata.at(channel.id, midnight, midnight + DAY_NS)
        asked = params.windows.samples(DAY.toordinal(), channel.spans)
        series.append(prepare(samples, epochs, asked, DAY, params))
    good = np.flatnonzero(series[0].candidates & series[1].candidates)
    for one in series:
        cut = xc.detrend(xc.cut_windows(one.motion(), good * params.n_step, params.n_samples))
        windows.append(xc.whiten(xc.taper(cut, 100), (params.freqmin, params.freqmax), params.fs))

    corr = xc.cross_correlate(*windows, params.n_lags)

    file = CorrFile(tmp_path / "CORR" / f"{DAY}.h5")
    assert corr.tobytes() == file.read(slice(0, 1))[0].tobytes()


def test_the_example_of_the_documentation_gives_what_it_shows():
    failed, attempted = doctest.testfile(str(ROOT / "docs/python.md"), module_relative=False)

    assert attempted > 10
    assert not failed


def test_the_documentation_lists_every_public_name_and_no_other():
    text = (ROOT / "docs/python.md").read_text()
    (table,) = re.findall(r"\| step \| functions \|\n(.*?)\n\n", text, re.DOTALL)
    listed = re.findall(r"`([a-z_.]+)`", table)

    for name in listed:
        operator.attrgetter(name)(xcor_daemon)
    assert {name.partition(".")[0] for name in listed} == set(PUBLIC)
