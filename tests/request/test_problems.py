"""Every error of a request is reported at once: an error neither hides nor causes another."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from xcor_daemon.errors import RequestError
from xcor_daemon.request.cost import check_files
from xcor_daemon.request.csv_table import LIMITS
from xcor_daemon.request.params import RULES
from xcor_daemon.request.stacking_params import STACKING_RULES

CODES = ["Network", "Station", "Location", "Channel"]
STATIONS = [*CODES, "StartDate", "EndDate", "Latitude", "SampleRate"]
ROWS = [
    f"XX,S{k},,BHZ,2020-01-01,2020-01-03T12:00:00,{k},".split(",") for k in range(6)
]  # fmt: skip
PAIRS = [["XX.S0..BHZ", "XX.S1..BHZ"], ["XX.S2", "XX.S3"], ["XX.S4", "XX.S5..BHZ"]]
PARAMS = {
    "fs": "10", "freqmin": "0.1", "freqmax": "0.2", "cc_step": "450", "cc_len": "1800",
    "maxlag": "60", "response": "velocity", "time_norm": "none", "whiten": "true",
    "method": "cross-correlation", "components": "all", "source": "", "max_distance": "",
    "substack": "", "drop_dead": "false", "rotate": "false", "clip_factor": "", "clamp": "",
    "skirt_low": "", "skirt_high": "", "normalisation": "none", "min_coverage": "",
    "ram_freqmin": "", "ram_freqmax": "", "max_std": "",
}  # fmt: skip


@dataclass(frozen=True)
class Mistake:
    """New texts by cell: ("params", column), or ("stations" or "pairs", row, column)."""

    cells: tuple[tuple[tuple, str], ...]

    @property
    def inputs(self) -> set[tuple]:
        return {cell for cell, _ in self.cells}


def wrong(*cells) -> Mistake:
    return Mistake(cells)


def params(**values) -> Mistake:
    return Mistake(tuple((("params", name), str(text)) for name, text in values.items()))


MISTAKES = [
    *(params(**{name: text}) for name, text in {
        "fs": "ten", "freqmin": "nan", "freqmax": "0", "cc_step": "450 s", "cc_len": "90000",
        "maxlag": "", "response": "Velocity", "time_norm": "soft", "whiten": "yes",
        "method": "guess", "components": "ZZZ", "source": "a b", "max_distance": "-5",
        "substack": "1e9", "drop_dead": "maybe", "rotate": "1", "clip_factor": "0",
        "clamp": "x", "skirt_low": "-1", "normalisation": "all", "min_coverage": "2",
        "ram_freqmin": "0", "max_std": "1",
    }.items()),
    params(freqmax=8), params(freqmin=0.3), params(cc_len=1800.05), params(cc_step=450.01),
    params(maxlag=1800), params(maxlag=0.01), params(cc_len=5, maxlag=2), params(substack=100),
    params(clip_factor=2), params(clamp=1), params(skirt_low=5),
    params(whiten="false", skirt_high=0.1), params(method="coherence"),
    params(time_norm="clamp"), params(time_norm="ram", ram_freqmin=0.1),
    params(time_norm="ram", ram_freqmin=0.5, ram_freqmax=0.4), params(drop_dead="true",
    response="none"), params(rotate="true", components="ZZ;NN"),
    params(method="phase", normalisation="coefficient"),
    *(wrong((("stations", row, column), text)) for row, column, text in [
        (0, "Network", "xx"), (1, "Station", "*"), (1, "Latitude", "91"), (2, "Channel", "BH"),
        (2, "StartDate", "2020-13-01"), (3, "EndDate", "2019-12-31"), (3, "Latitude", "north"),
        (4, "EndDate", "2599-12-31"), (4, "SampleRate", "nan"), (5, "StartDate", "1960-01-01"),
        (5, "EndDate", ""), (0, "Location", "?"),
    ]),
    *(wrong((("pairs", row, column), text)) for row, column, text in [
        (0, 0, "XX.S0.BHZ"), (0, 1, "XX.S9..BHZ"), (1, 0, "XX"), (1, 1, "YY.S3"),
        (2, 1, "XX.S4..BHZ"),
    ]),
]  # fmt: skip
ALL_CODES = {("stations", row, column) for row in range(6) for column in CODES}
# Inputs of one check: two errors that touch one of these sets share an input.
TOGETHER = [
    *({("params", name) for name in rule.needs} for rule in RULES.rules),
    *({("stations", k, "StartDate"), ("stations", k, "EndDate")} for k in range(6)),
    *({("pairs", k, 0), ("pairs", k, 1), ("params", "components"), *ALL_CODES} for k in range(3)),
]


def files(mistakes) -> dict[str, bytes]:
    values, rows, pairs = dict(PARAMS), [list(row) for row in ROWS], [list(row) for row in PAIRS]
    for mistake in mistakes:
        for (file, *at), text in mistake.cells:
            if file == "params":
                values[at[0]] = text
            elif file == "stations":
                rows[at[0]][STATIONS.index(at[1])] = text
            else:
                pairs[at[0]][at[1]] = text
    return {
        "stations.csv": "\n".join(map(",".join, [STATIONS, *rows])).encode(),
        "params.csv": f"{','.join(values)}\n{','.join(values.values())}\n".encode(),
        "pairs.csv": "\n".join(map(",".join, [("First", "Second"), *pairs])).encode(),
    }


def problems(*mistakes) -> list[str]:
    try:
        check_files(files(mistakes))
    except RequestError as error:
        return [str(problem) for problem in error.problems]
    return []


@cache
def alone(mistake: Mistake) -> frozenset[str]:
    return frozenset(problems(mistake))


def share(one: Mistake, other: Mistake) -> bool:
    return bool(one.inputs & other.inputs) or any(
        one.inputs & some and other.inputs & some for some in TOGETHER
    )


def test_the_unchanged_request_is_valid():
    assert problems() == []


@pytest.mark.parametrize("mistake", MISTAKES, ids=lambda m: " ".join(map(str, m.cells)))
def test_an_error_is_one_problem_without_consequences(mistake):
    assert len(problems(mistake)) == 1


@settings(max_examples=400, deadline=None)
@given(drawn=st.lists(st.sampled_from(MISTAKES), min_size=2, max_size=16, unique=True))
def test_independent_errors_are_reported_together_as_alone(drawn):
    chosen = []
    for mistake in drawn:
        if not any(share(mistake, other) for other in chosen):
            chosen.append(mistake)

    got = problems(*chosen)

    assert len(got) == len(set(got))
    assert set(got) == frozenset().union(*map(alone, chosen))


@settings(max_examples=200, deadline=None)
@given(drawn=st.lists(st.sampled_from(MISTAKES), min_size=2, max_size=16, unique=True))
def test_no_error_is_reported_twice(drawn):
    got = problems(*drawn)

    assert len(got) == len(set(got))


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        (  # a column that is missing hides no other column, nor the rules without it
            {"params.csv": b"fs,freqmin,freqmax,cc_len,maxlag\n10,0.3,0.2,1800,1800\n"},
            ["params.csv line 1: lacks the column cc_step",
             "params.csv line 2: freqmax = 0.2 Hz must be higher than freqmin (0.3 Hz)",
             "params.csv line 2: maxlag = 1800 s must be shorter than cc_len (1800 s)"],
        ),
        (  # a column that stands twice has no value, and no default either
            {"params.csv": b"fs,freqmin,freqmax,cc_step,cc_len,maxlag,whiten,method,whiten\n"
                           b"10,0.1,8,450,1800,60,true,coherence,false\n"},
            ["params.csv line 1: whiten appears twice in the header",
             "params.csv line 2: freqmax = 8 Hz exceeds the Nyquist frequency (5 Hz at fs = 10 Hz)"
             "; lower freqmax or raise fs"],
        ),
        (  # of two rows neither is the job's, but both are read
            {"params.csv": b"fs,freqmin,freqmax,cc_step,cc_len,maxlag\n10,nan,0.2,450,1800,60\n"
                           b"10,0.1,8,450,1800,60\n"},
            ["params.csv: has 2 rows of values; it must have exactly one",
             "params.csv line 2: freqmin = nan is not a finite number (lower corner frequency of "
             "the band, in Hz)",
             "params.csv line 3: freqmax = 8 Hz exceeds the Nyquist frequency (5 Hz at fs = 10 Hz)"
             "; lower freqmax or raise fs"],
        ),
        (  # a quote hides its line only, and what its line may have named is not missed elsewhere
            {"stations.csv": b"Network,Station,Location,Channel,StartDate,EndDate\n"
                             b'XX,"A,,BHZ,2020-01-01,2020-01-02\nXX,B,,BH,2020-01-01,2020-01-02\n',
             "pairs.csv": b"First,Second\nXX.A,XX.B..BHZ\n"},
            ["stations.csv line 2: is not CSV: a quoted cell has no closing quote",
             "stations.csv line 3: Channel = BH is not a channel code (3 capital letters or digits"
             ", such as BHZ)"],
        ),
        (  # a channel whose date is wrong is a channel: its pairs are no mistake
            {"stations.csv": b"XX,A,,BHZ,2020-01-01,2020-13-01\nXX,B,,BHZ,2020-01-01,2020-01-02\n",
             "pairs.csv": b"XX.A,XX.B\nXX.A,XX.Q\nXX.B,XX.B\n"},
            ["stations.csv line 1: EndDate = 2020-13-01 is not a date; write YYYY-MM-DDThh:mm:ss",
             "pairs.csv line 2: 'XX.A XX.Q' names XX.Q, which is not in stations.csv",
             "pairs.csv line 3: 'XX.B XX.B' yields no pair with components, same_station and "
             "autocorrelations of params.csv"],
        ),
        (  # the number of channels does not depend on frequencies
            {"stations.csv": b"XX,A,,BHZ,2020-01-01,2020-01-02\n",
             "params.csv": b"fs,freqmin,freqmax,cc_step,cc_len,maxlag\n10,nan,8,450,1800,60\n"},
            ["params.csv line 2: freqmin = nan is not a finite number (lower corner frequency of "
             "the band, in Hz)",
             "params.csv line 2: freqmax = 8 Hz exceeds the Nyquist frequency (5 Hz at fs = 10 Hz)"
             "; lower freqmax or raise fs",
             "stations.csv: contains only one channel (XX.A..BHZ); a correlation requires two, or "
             "autocorrelations=true"],
        ),
        (  # nor do windows
            {"stations.csv": b"XX,A,,BHZ,2020-01-01,2020-01-01T00:20:00\n"
                             b"XX,B,,BHZ,2020-01-01,2020-01-01T00:20:00\n",
             "params.csv": b"fs,freqmin,freqmax,cc_step,cc_len,maxlag\n10,nan,0.2,450,1800,60\n"},
            ["params.csv line 2: freqmin = nan is not a finite number (lower corner frequency of "
             "the band, in Hz)",
             "stations.csv: contains no complete window of cc_len = 1800 s: windows start at "
             "midnight and every cc_step = 450 s after it, and the longest span is 1200 s; request "
             "longer spans or shorten cc_len"],
        ),
        (  # spans that meet only between two windows
            {"stations.csv": b"XX,A,,BHZ,2020-01-01,2020-01-01T01:00:00\n"
                             b"XX,B,,BHZ,2020-01-01T00:40:00,2020-01-01T02:00:00\n"},
            ["stations.csv: yields no pair: no two of its 2 channels (XX.A..BHZ, XX.B..BHZ ...) "
             "share a window and match components, same_station and autocorrelations of "
             "params.csv"],
        ),
        (  # one channel, which is not wanted with itself
            {"stations.csv": b"XX,A,,BHZ,2020-01-01,2020-01-02\n",
             "params.csv": b"fs,freqmin,freqmax,cc_step,cc_len,maxlag,autocorrelations,components\n"
                           b"10,0.1,0.2,450,1800,60,true,NN\n"},
            ["stations.csv: yields no pair: components excludes its only channel (XX.A..BHZ) "
             "with itself"],
        ),
        (  # no channel is fast enough
            {"stations.csv": b"Network,Station,Location,Channel,StartDate,EndDate,SampleRate\n"
                             b"XX,A,,BHZ,2020-01-01,2020-01-02,1\nXX,B,,BHZ,2020-01-01,2020-01-02,"
                             b"\nXX,C,,BHZ,2020-01-01,2020-01-02,4\n",
             "params.csv": b"fs,freqmin,freqmax,cc_step,cc_len,maxlag\n10,0.1,3,450,1800,60\n"},
            ["params.csv: freqmax = 3 Hz leaves no pair: it exceeds the highest Nyquist frequency "
             "of the channels (2 Hz, by SampleRate of stations.csv); lower freqmax or add faster "
             "channels"],
        ),
        (  # a job of two kinds is read as both
            {"stacking_params.csv": b"type,phase_smooth,stack_all,job,power\nlinear,,maybe,1,2\n",
             "params.csv": b"fs,freqmin,freqmax,cc_step,cc_len,maxlag\n10,0.1,8,450,1800,60\n"},
            ["stacking_params.csv: is present with params.csv; a job either correlates or stacks: "
             "submit two jobs",
             "stacking_params.csv line 2: stack_all = maybe is neither true nor false",
             "stacking_params.csv line 2: power = 2 applies only with type=phase-weighted or "
             "tf-phase-weighted or nth-root or adaptive-covariance, not with linear; leave it "
             "empty",
             "params.csv line 2: freqmax = 8 Hz exceeds the Nyquist frequency (5 Hz at fs = 10 Hz)"
             "; lower freqmax or raise fs"],
        ),
    ],
)  # fmt: skip
def test_an_error_hides_no_other(files, expected):
    good = {
        "stations.csv": b"XX,A,,BHZ,2020-01-01,2020-01-02\nXX,B,,BHZ,2020-01-01,2020-01-02\n",
        "params.csv": b"10,0.1,0.2,450,1800,60\n",
    }
    if "stacking_params.csv" in files:
        del good["stations.csv"]
    with pytest.raises(RequestError) as caught:
        check_files({**good, **files})

    assert [str(problem) for problem in caught.value.problems] == expected


def test_an_excessive_size_is_reported_with_the_other_errors():
    rows = "".join(f"XX,S{k:04},,BHZ,2020-01-01,2021-01-01\n" for k in range(1000))
    with pytest.raises(RequestError) as caught:
        check_files(
            {"stations.csv": rows.encode(), "params.csv": b"10,nan,0.2,450,1800,60\n"}
        )  # fmt: skip

    first, *others = [str(problem) for problem in caught.value.problems]
    assert first.startswith("params.csv line 1: freqmin = nan")
    assert [text.split(";")[0].split("amounts to ")[1].split(" ", 1)[1] for text in others] == [
        "pair-days", "bytes of correlations",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("section", "rules"), [("params", RULES), ("stacking", STACKING_RULES)]
)  # fmt: skip
def test_the_arguments_of_rules_are_existing_columns(section, rules):
    for rule in rules.rules:
        assert set(rule.needs) <= LIMITS[section].keys()
