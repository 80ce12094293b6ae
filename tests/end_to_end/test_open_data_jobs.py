"""A job of named pairs, sent as the page sends it, whose data lie in buckets of open data."""

from __future__ import annotations

import csv
import io
import json

import h5py
import numpy as np
import pytest
from opendata import DATA, open_bucket

from xcor_daemon.web.submit import handle

pytestmark = pytest.mark.real

STATIONS = """Network,Station,Location,Channel,StartDate,EndDate,DataCenter
CI,CCA,,BHN,2022-01-02T00:00:00,2022-01-03T00:00:00,
CI,HEC,,BHN,2022-01-02T00:00:00,2022-01-03T00:00:00,
CI,WBM,,LHZ,2022-01-02T00:00:00,2022-01-03T00:00:00,
BK,THIS,00,LHZ,2022-01-02T00:00:00,2022-01-03T00:00:00,northern
"""
PARAMS = """fs,freqmin,freqmax,cc_step,cc_len,maxlag
4,0.05,0.12,900,1800,150
"""
PAIRS = "First,Second\nCI.HEC,CI.CCA\nBK.THIS.00.LHZ,CI.WBM..LHZ\n"


def test_named_pairs_from_two_buckets_show_their_known_arrivals(
    serve, s3_server, tmp_path, monkeypatch
):
    url = open_bucket(s3_server)
    monkeypatch.setenv("XCOR_SOURCES", f"northern=s3:NCEDC|{url}")
    service = serve(f"s3:SCEDC|{url}")
    body = json.dumps({"stations": STATIONS, "pairs": PAIRS, "params": PARAMS}).encode()

    code, answer = handle(service.store(), body)
    assert code == 201
    status = service.wait_for(answer["id"])

    assert (status["state"], status["reason"]) == ("done", None)
    manifest = json.loads(service.read(status["manifest"]))
    assert {item["key"].rpartition("/")[2] for item in manifest["inputs"]} == {
        "stations.csv",
        "params.csv",
        "pairs.csv",
    }
    keys = {file["key"].partition(f"{manifest['attempt']}/")[2]: file["key"]
            for file in manifest["files"]}  # fmt: skip
    assert_who_served(manifest, service.read(keys["summary.csv"]).decode())
    stacks = tmp_path / "linear.h5"
    stacks.write_bytes(service.read(keys["STACK/linear.h5"]))
    assert_what_is_known(stacks)


def assert_who_served(manifest, summary):
    """Bytes are those of the day objects; neighbours' parts would add some, but there are none."""
    sizes = {
        "CI.CCA..BHN": ("s3:SCEDC", "CICCA__BHN___2022002.ms"),
        "CI.HEC..BHN": ("s3:SCEDC", "CIHEC__BHN___2022002.ms"),
        "BK.THIS.00.LHZ": ("s3:NCEDC", "THIS.BK.LHZ.00.D.2022.002"),
    }
    rows = {row["channel"]: row for row in csv.DictReader(io.StringIO(summary))}
    sources = manifest["summary"]["sources"]
    assert {name: row["status"] for name, row in rows.items()} == dict.fromkeys(rows, "kept")
    assert sources.keys() == {"s3:NCEDC", "s3:SCEDC"}
    for channel, (source, file) in sizes.items():
        size = (DATA / file).stat().st_size
        assert (rows[channel]["source"], int(rows[channel]["n_bytes"])) == (source, size)
        assert sources[source]["channels"][channel] == {
            "bytes": size,
            "days": 1,
            "spans": [["2022-01-02", "2022-01-02"]],
        }
    assert rows["CI.WBM..LHZ"]["source"] == "s3:SCEDC"
    assert sources["s3:SCEDC"]["channel_days"] == 3


def assert_what_is_known(path):
    """CCA-HEC, 158 km: an arrival at -37 s. WBM-THIS, 212 km: THIS is dead (README of the data)."""
    with h5py.File(path) as file:
        pairs = list(zip(file["first"].asstr()[:], file["second"].asstr()[:], strict=True))
        stack, lag, distance = (file[name][:] for name in ("stack", "lag", "distance"))
    assert pairs == [("BK.THIS.00.LHZ", "CI.WBM..LHZ"), ("CI.CCA..BHN", "CI.HEC..BHN")]
    np.testing.assert_allclose(distance, [212, 158], atol=1)
    clear = np.abs(stack[1].ravel())
    assert lag[clear.argmax()] == pytest.approx(-37, abs=1)
    assert clear.max() > 4 * stack[1].ravel()[np.abs(lag) > 100].std()
