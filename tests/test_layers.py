"""Which package may import which, and which libraries stay out of which half."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[1] / "xcor_daemon"

# Package or module of xcor_daemon -> the others of xcor_daemon that it may import, at any place.
MAY_IMPORT = {
    "errors": set(),
    "logs": {"request"},  # the pattern of a job id
    "report": {"errors"},
    "config": {"errors"},
    "atomic_files": {"errors"},
    "request": {"errors"},
    "results": {"request", "atomic_files", "errors"},
    "storage": {"request", "config", "atomic_files", "errors"},
    "workers": {"storage", "request", "config", "atomic_files", "errors"},
    "web": {"storage", "request", "config", "atomic_files", "errors"},
    "service": {"workers", "storage", "request", "config", "atomic_files", "errors"},
    "operations": {"workers", "storage", "request", "logs", "config", "atomic_files", "errors"},
    "pipeline": {"request", "atomic_files", "errors"},
    "demo": {"web", "storage", "report", "config", "atomic_files", "errors"},
}
MAY_IMPORT["cli"] = set(MAY_IMPORT)

# The same for the packages and modules of xcor_daemon.pipeline.
PIPELINE_MAY_IMPORT = {
    "datatypes": set(),
    "lazy_imports": set(),
    "worker_process": set(),
    "numerics": set(),
    "executors": {"worker_process"},
    "sources": {"datatypes", "lazy_imports"},
    "correlation": {"datatypes", "lazy_imports", "numerics"},
    "hdf5": {"datatypes", "numerics"},
    "plots": {"datatypes"},
    "preprocessing": {"datatypes", "numerics"},
    "measure": {"datatypes", "numerics"},
    "stack": {"measure", "hdf5", "executors", "datatypes", "numerics"},
    "units": {"sources", "preprocessing", "correlation", "hdf5", "datatypes", "numerics"},
    "scheduling": {"units", "sources", "executors", "worker_process", "datatypes"},
    "products": {
        "stack",
        "hdf5",
        "plots",
        "units",
        "executors",
        "worker_process",
        "datatypes",
        "numerics",
    },
}
PIPELINE_MAY_IMPORT["run"] = set(PIPELINE_MAY_IMPORT)

SCIENCE = {"numpy", "scipy", "obspy", "h5py", "pandas", "numba", "matplotlib", "dask"}
HOST = ("errors", "logs", "config", "atomic_files", "request", "storage", "workers", "web")
HOST = (*HOST, "service", "operations")
NOT_OF_THE_PIPELINE = {"boto3", "botocore", "docker", "click"}
PREFIX = "xcor_daemon.pipeline."


def imports_of(path: Path) -> set[str]:
    """Absolute names of what a module imports, wherever in it."""
    package = ["xcor_daemon", *path.relative_to(PACKAGE).parts[:-1]]
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else []
            name = ".".join([*base, *([node.module] if node.module else [])])
            found |= {f"{name}.{alias.name}" for alias in node.names} | {name}
    return found


def tops_of(path: Path) -> set[str]:
    return {name.partition(".")[0] for name in imports_of(path)}


def modules_of(name: str) -> list[Path]:
    """The files of a package or module right below xcor_daemon."""
    folder = PACKAGE / name
    return sorted(folder.rglob("*.py")) if folder.is_dir() else [folder.with_suffix(".py")]


def parts_of(path: Path) -> set[str]:
    """Packages and modules right below xcor_daemon that a file imports."""
    names = {name.split(".")[1] for name in imports_of(path) if name.startswith("xcor_daemon.")}
    return {
        name for name in names if (PACKAGE / f"{name}.py").exists() or (PACKAGE / name).is_dir()
    }


def test_every_package_and_module_has_its_row():
    found = {path.stem for path in PACKAGE.glob("*.py")} - {"__init__"}
    found |= {path.parent.name for path in PACKAGE.glob("*/__init__.py")}
    assert found == MAY_IMPORT.keys()


@pytest.mark.parametrize("name", MAY_IMPORT)
def test_a_package_imports_only_what_its_row_allows(name):
    for path in modules_of(name):
        assert parts_of(path) - {name} <= MAY_IMPORT[name], path


def test_no_two_packages_import_each_other():
    for name, allowed in MAY_IMPORT.items():
        assert not {other for other in allowed if name in MAY_IMPORT[other]} - {name}


@pytest.mark.parametrize("name", HOST)
def test_the_host_half_imports_no_seismology(name):
    for path in modules_of(name):
        assert not tops_of(path) & SCIENCE, path


def test_the_pipeline_imports_no_bucket_no_container_and_no_command_line():
    for path in modules_of("pipeline"):
        assert not tops_of(path) & NOT_OF_THE_PIPELINE, path


PIPELINE_FOLDER = PACKAGE / "pipeline"


def test_every_package_and_module_of_the_pipeline_has_its_row():
    found = {path.stem for path in PIPELINE_FOLDER.glob("*.py")} - {"__init__"}
    found |= {path.parent.name for path in PIPELINE_FOLDER.glob("*/__init__.py")}
    assert found == PIPELINE_MAY_IMPORT.keys()


@pytest.mark.parametrize("name", PIPELINE_MAY_IMPORT)
def test_a_package_of_the_pipeline_imports_only_what_its_row_allows(name):
    for path in modules_of(f"pipeline/{name}"):
        names = {one.split(".")[2] for one in imports_of(path) if one.startswith(PREFIX)}
        assert (names & PIPELINE_MAY_IMPORT.keys()) - {name} <= PIPELINE_MAY_IMPORT[name], path


def test_products_import_only_the_records_of_units():
    for path in modules_of("pipeline/products"):
        of_units = {one for one in imports_of(path) if one.startswith(f"{PREFIX}units")}
        assert all(one.startswith(f"{PREFIX}units.records") for one in of_units), path


def test_no_two_packages_of_the_pipeline_import_each_other():
    for name, allowed in PIPELINE_MAY_IMPORT.items():
        both = {other for other in allowed if name in PIPELINE_MAY_IMPORT[other]}
        assert not both - {name}


def test_nothing_is_swallowed():
    for path in PACKAGE.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            # One module must catch whatever a unit raises: the executors, on purpose.
            if isinstance(node, ast.ExceptHandler) and path.stem != "executors":
                caught = ast.unparse(node.type) if node.type else "BaseException"
                goes_on = ast.unparse(node.body[-1]) != "raise"
                assert not goes_on or caught not in ("Exception", "BaseException"), path


# Names of methods and functions that write, create or rename a file, and modes of open().
WRITES = {
    *("write_text", "write_bytes", "mkdir", "makedirs", "touch", "rename", "replace", "link"),
    *("symlink", "copy", "copyfile", "copytree", "move", "savefig", "NamedTemporaryFile"),
}
# Where that is something else, or a file of its own kind.
OWN_FILES = {
    ("pipeline/units/blocks.py", "open wb"),  # a partial file that threads fill at their places
    ("pipeline/plots/figure.py", "savefig"),  # to memory
    (
        "pipeline/sources/connection_limit.py",
        "open a+",
    ),  # counts of connections, changed under a lock
    ("operations/recovery.py", "rename"),  # of a folder
}


def writes_of(path: Path) -> set[str]:
    """Calls of a module that write files, by name; those of a str or a datetime are none."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if not isinstance(node, ast.Call) or not isinstance(node.func, ast.Attribute):
            continue
        name, of = node.func.attr, ast.unparse(node.func.value)
        texts = [a.value for a in node.args if isinstance(a, ast.Constant)]
        if name == "open" and any(isinstance(t, str) and set(t) & set("wax+") for t in texts):
            found.add(f"open {texts[0]}")
        elif name == "File" and of == "h5py" and len(node.args) > 1:
            if not ast.unparse(node.args[0]).startswith("raw"):  # a SteadyFile
                found.add("h5py.File")
        elif name in ("save", "savez") and of == "np":
            if ast.unparse(node.args[0]) not in ("file", "out"):  # open_atomic, or memory
                found.add(f"np.{name}")
        elif name in WRITES and (name != "replace" or len(node.args) == 1 and not node.keywords):
            is_ours = name in ("write_text", "write_bytes") and of in ("batch", "atomic_files")
            if not is_ours and not (name == "copy" and of not in ("shutil",)):
                found.add(name)
    return found


def test_one_module_writes_files():
    found = {
        (path.relative_to(PACKAGE).as_posix(), name)
        for path in PACKAGE.rglob("*.py")
        if path.name != "atomic_files.py"
        for name in writes_of(path)
    }

    assert found == OWN_FILES


def loaded_by(code: str, *arguments: str) -> set[str]:
    """Top-level names of all modules that some code loads in a new process."""
    code += "\nimport sys; print(*{name.partition('.')[0] for name in sys.modules})"
    command = [sys.executable, "-c", code, *arguments]
    return set(subprocess.check_output(command, text=True).split())


def test_the_host_half_loads_nothing_of_the_science():
    loaded = loaded_by(
        "import xcor_daemon.service.daemon, xcor_daemon.web.submit, xcor_daemon.operations.status"
    )

    assert "botocore" in loaded
    assert not loaded & SCIENCE


def test_the_pipeline_loads_obspy_and_matplotlib_where_it_needs_them_only():
    loaded = loaded_by("import xcor_daemon.pipeline.run, xcor_daemon.pipeline.sources.archive")

    assert "numba" in loaded
    assert not loaded & {"obspy", "lxml", "matplotlib", "http", "ssl"}
    of_a_centre = loaded_by("import xcor_daemon.pipeline.run, xcor_daemon.pipeline.sources.fdsn")
    assert "obspy" in of_a_centre
    assert not of_a_centre & {"requests", "urllib3", "matplotlib"}


def test_help_loads_nothing_heavy():
    code = "import click; from xcor_daemon.cli import main; main(['--help'], standalone_mode=False)"
    loaded = loaded_by(code)

    assert not loaded & (SCIENCE | {"boto3", "botocore", "docker", "tqdm"})
