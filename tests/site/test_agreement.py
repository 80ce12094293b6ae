"""Page and worker read the same files with the same errors and the same numbers."""

from __future__ import annotations

import json
import random
import re
import subprocess
from dataclasses import asdict
from pathlib import Path

import pytest

from xcor_daemon.errors import RequestError
from xcor_daemon.request.cost import check_files
from xcor_daemon.request.csv_table import LIMITS
from xcor_daemon.request.job_files import JOB_ID
from xcor_daemon.request.params import RULES
from xcor_daemon.request.parse import XcorRequest, format_params, parse_stacking
from xcor_daemon.request.stacking_params import STACKING_RULES
from xcor_daemon.request.stations import format_stations

FOLDER = Path(__file__).parent
GOLDEN = sorted((FOLDER / "golden").iterdir())


def answer(stations: bytes, params: bytes) -> dict:
    """What the worker makes of the two files, in the shape of expected.json."""
    try:
        request, price = check_files({"stations.csv": stations, "params.csv": params})
    except RequestError as error:
        return {"problems": [str(problem) for problem in error.problems]}
    assert isinstance(request, XcorRequest)
    return {
        "stations": format_stations(request.channels).splitlines(),
        "params": format_params(request.params).splitlines(),
        "estimate": asdict(price),
    }


@pytest.mark.parametrize("case", GOLDEN, ids=lambda case: case.name)
def test_worker_reads_golden_files(case: Path):
    expected = json.loads((case / "expected.json").read_text())

    got = answer((case / "stations.csv").read_bytes(), (case / "params.csv").read_bytes())

    assert got == expected


def test_page_and_worker_have_the_same_pattern_of_a_job_id():
    text = (FOLDER.parents[1] / "site/js/lib/job_id.js").read_text()

    (pattern,) = re.findall(r'JOB_ID = "([^"]+)"', text)
    assert pattern == JOB_ID


def test_page_and_worker_have_the_same_rules(node: Path):
    done = subprocess.run(
        [node, FOLDER / "answer.mjs", "rules"], capture_output=True, text=True, check=True
    )
    of_page = json.loads(done.stdout)

    for section, rules in (("params", RULES), ("stacking", STACKING_RULES)):
        of_worker = [[rule.column, *rule.needs] for rule in rules.rules]
        assert of_page[section] == of_worker


def test_page_and_worker_agree_on_random_requests(node: Path):
    draw = random.Random(8)
    cases = [{"stations": _stations(draw), "params": _params(draw)} for _ in range(1000)]

    lines = "\n".join(map(json.dumps, cases))
    done = subprocess.run(
        [node, FOLDER / "answer.mjs"], input=lines, capture_output=True, text=True, check=True
    )
    answers = [json.loads(line) for line in done.stdout.splitlines()]

    assert len(answers) == len(cases)
    for case, of_page in zip(cases, answers, strict=True):
        of_worker = answer(case["stations"].encode(), case["params"].encode())
        assert of_page == of_worker, case
    good = sum("estimate" in one for one in answers)
    assert 100 < good < 900, "the draw tests only one side"


def test_page_and_worker_agree_on_random_stacking_requests(node: Path):
    draw = random.Random(14)
    texts = [_row("stacking", draw, draw.randint(0, 6)) for _ in range(1000)]

    lines = "\n".join(json.dumps({"stacking": text}) for text in texts)
    done = subprocess.run(
        [node, FOLDER / "answer.mjs"], input=lines, capture_output=True, text=True, check=True
    )

    counts = []
    for text, line in zip(texts, done.stdout.splitlines(), strict=True):
        try:
            parse_stacking(text.encode())
            of_worker = []
        except RequestError as error:
            of_worker = [str(problem) for problem in error.problems]
        assert json.loads(line) == of_worker, text
        counts.append(len(of_worker))
    assert min(counts) == 0, "no good request was drawn"
    assert max(counts) > 4, "no request with several mistakes was drawn"


def _stations(draw: random.Random) -> str:
    """Some channels over some days; now and then with something wrong."""
    rows = ["Network,Station,Location,Channel,StartDate,EndDate,Longitude,SampleRate"]
    for _ in range(draw.randint(1, 12)):
        start = draw.choice(["2019-12-29", "2020-02-28T12:00:00", "2020-02-28T06:30:00.5Z"])
        end = draw.choice(["2020-03-01", "2020-03-01T00:00:00.000001", "2020-03-07T23:59:59"])
        codes = [draw.choice(["XX", "YY"]), f"S{draw.randint(1, 4)}", draw.choice(["", "--", "10"])]
        place = [draw.choice(["", "359.5", "-1e1"]), draw.choice(["", "1", "20.5", "100"])]
        rows.append(",".join([*codes, "HH" + draw.choice("ENZ"), start, end, *place]))
    if draw.random() < 0.15:
        wrong = draw.choice(["XX,s1", "a,b,c,d,e,f,g,h", "XX,S1,,HHZ,2019-02-29,2020,361,-1"])
        rows.insert(draw.randint(1, len(rows)), wrong)
    return draw.choice(["\n", "\r\n"]).join(rows)


def _params(draw: random.Random) -> str:
    """The six with values that mostly fit, and some of the others with any of their values."""
    six = {
        "fs": [1, 4, 10, 12.5, 100],
        "freqmin": [0.05, 0.1, 0.2, 1],
        "freqmax": [0.4, 0.45, 2],
        "cc_step": [450, 900.0, 86400, 333.3, 0.1],
        "cc_len": [900, 1800, 3600.5, 86400],
        "maxlag": [0.25, 60, 899.9, 120],
    }
    row = {name: draw.choice(values) for name, values in six.items()}
    if draw.random() < 0.1:
        row[draw.choice([*six])] = draw.choice(["nan", "ten", "-1", ""])
    for name in draw.sample([*LIMITS["params"]], draw.choice([0, 0, 1, 3, 6])):
        row[name] = _value(LIMITS["params"][name], draw)
    return f"{','.join(row)}\n{','.join(map(str, row.values()))}\n"


def _row(section: str, draw: random.Random, n_more: int) -> str:
    """The required columns with good values, and some of any with any of their values."""
    limits = LIMITS[section]
    row = {name: limit["default"] for name, limit in limits.items() if limit.get("required")}
    row |= {"type": draw.choice(limits["type"]["choices"]), "stack_all": "false", "job": "1"}
    for name in draw.sample([*limits], n_more):
        row[name] = _value(limits[name], draw)
    return f"{','.join(row)}\n{','.join(map(str, row.values()))}\n"


def _value(limit: dict, draw: random.Random) -> object:
    """Any text of a column, right or wrong."""
    channel = "NO.NAO00..BHZ"
    values = {
        "number": [limit.get("max"), limit.get("above", limit.get("min")), "", 0.123456789, 5, "x"],
        "flag": ["true", "FALSE", "1"],
        "choice": [*limit.get("choices", ()), "other"],
        "components": ["all", "ZZ", "ZZ;?N", "EE;EN;EZ;NE;NN;NZ;ZE;ZN;ZZ", "Z"],
        "name": ["", "EARTHSCOPE", "http://x"],
        "job": ["12", "x"],
        "interval": ["6h", "1D", "7D", "1ME", "2ME", "0D", "7d", ""],
        "pairs": [f"{channel}|{channel}", channel, ""],
        "channels": [channel, f"{channel};{channel}", "X", ";".join([channel] * 21)],
    }[limit["kind"]]
    return draw.choice(values)
