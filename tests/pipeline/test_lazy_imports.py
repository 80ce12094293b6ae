"""Modules of a package load without it, and the package when it is used."""

import importlib
import sys
from concurrent.futures import ThreadPoolExecutor

import pytest

from xcor_daemon.pipeline.lazy_imports import defer_package


@pytest.fixture
def package(tmp_path, monkeypatch):
    """A package with a small module, which says when it is loaded itself."""
    folder = tmp_path / "heavy_package"
    folder.mkdir()
    (folder / "__init__.py").write_text(
        "import time\n"
        "loaded = []\n"
        "if 'small' in locals():\n    del small\n"  # as obspy.signal does
        "time.sleep(0.2)\n"
        "loaded.append(1)\n"
        "answer = 42\n"
    )
    (folder / "small.py").write_text("part = 'small'\n")
    monkeypatch.syspath_prepend(tmp_path)
    defer_package("heavy_package")
    yield sys.modules["heavy_package"]
    for name in ("heavy_package", "heavy_package.small"):
        sys.modules.pop(name, None)


def test_a_module_loads_without_its_package_and_stays_part_of_it(package):
    small = importlib.import_module("heavy_package.small")

    assert small.part == "small"
    assert "answer" not in vars(package)
    assert package.answer == 42
    assert package.small is small


def test_one_module_may_take_another_while_it_loads(package, tmp_path):
    """As obspy.signal.invsim takes util: the package would take the half-loaded one."""
    (tmp_path / "heavy_package/util.py").write_text("from heavy_package import small\n")

    util = importlib.import_module("heavy_package.util")

    assert util.small.part == "small"
    assert "answer" not in vars(package)


def test_threads_that_use_it_at_once_load_it_once(package):
    with ThreadPoolExecutor(4) as pool:
        answers = list(pool.map(lambda _: package.answer, range(4)))

    assert answers == [42] * 4
    assert package.loaded == [1]


def test_what_it_does_not_have_is_missed_as_ever(package):
    with pytest.raises(AttributeError, match="nothing"):
        package.nothing  # noqa: B018


def test_a_package_that_is_loaded_stays_as_it_is():
    before = sys.modules["concurrent.futures"]

    defer_package("concurrent.futures")

    assert sys.modules["concurrent.futures"] is before
