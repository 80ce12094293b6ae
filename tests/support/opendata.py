"""Public buckets of day objects on the S3 server of the tests, under the archives' true names."""

from __future__ import annotations

import json
import uuid
from collections.abc import Mapping

from paths import TESTS

from xcor_daemon.demo.s3_server import S3Server

DATA = TESTS / "data/ci_bk_2022"
_DAYS = "continuous_waveforms/2022/2022_00"
# The keys of scedc-pds and ncedc-pds, as their day archives name them.
OBJECTS = {
    f"{_DAYS}1/CIWBM__LHZ___2022001.ms": "CIWBM__LHZ___2022001.ms",
    f"{_DAYS}2/CIWBM__LHZ___2022002.ms": "CIWBM__LHZ___2022002.ms",
    f"{_DAYS}3/CIWBM__LHZ___2022003.ms": "CIWBM__LHZ___2022003.ms",
    f"{_DAYS}2/CICCA__BHN___2022002.ms": "CICCA__BHN___2022002.ms",
    f"{_DAYS}2/CIHEC__BHN___2022002.ms": "CIHEC__BHN___2022002.ms",
    "FDSNstationXML/CI/CI_WBM.xml": "CI_WBM.xml",
    "FDSNstationXML/CI/CI_CCA.xml": "CI_CCA.xml",
    # Folder of SCEDC for foreign networks; CI is its own, so this station represents a foreign one.
    "FDSNstationXML/unauthoritative-XML/CI_HEC.xml": "CI_HEC.xml",
    "continuous_waveforms/BK/2022/2022.002/RUSS.BK.LHZ.00.D.2022.002": "RUSS.BK.LHZ.00.D.2022.002",
    "continuous_waveforms/BK/2022/2022.002/THIS.BK.LHZ.00.D.2022.002": "THIS.BK.LHZ.00.D.2022.002",
    "FDSNstationXML/BK/BK.THIS.xml": "BK_THIS.xml",
    # EarthScope keeps a station's channels in one object, and versions of it.
    "miniseed/CI/2022/002/WBM.CI.2022.002#1": "CIWBM__LHZ___2022001.ms",
    "miniseed/CI/2022/002/WBM.CI.2022.002#2": "CIWBM__LHZ___2022002.ms",
}


def open_bucket(server: S3Server, more: Mapping[str, bytes] | None = None) -> str:
    """The URL of a new bucket that anybody may read and list, with `OBJECTS` and some more."""
    name = f"open-{uuid.uuid4().hex[:12]}"
    client = server.client()
    client.create_bucket(Bucket=name)
    contents = {key: (DATA / file).read_bytes() for key, file in OBJECTS.items()} | (more or {})
    for key, content in contents.items():
        client.put_object(Bucket=name, Key=key, Body=content)
    allowed = [(["s3:GetObject"], "/*"), (["s3:ListBucket"], "")]
    public = {"Effect": "Allow", "Principal": "*"}
    statements = [
        {**public, "Action": action, "Resource": f"arn:aws:s3:::{name}{end}"}
        for action, end in allowed
    ]
    policy = {"Version": "2012-10-17", "Statement": statements}
    client.put_bucket_policy(Bucket=name, Policy=json.dumps(policy))
    return f"{server.endpoint}/{name}"
