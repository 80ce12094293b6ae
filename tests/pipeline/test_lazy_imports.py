"""Submodules load without their package, which is loaded when it is used."""

import importlib
import sys
from concurrent.futures import ThreadPoolExecutor

import pytest

from xcor_daemon.pipeline.lazy_imports import defer_package


@pytest.fixture
def package(tmp_path, monkeypatch):
    """A package with a small submodule; its list ``loaded`` records when it is loaded."""
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


def test_a_submodule_loads_without_its_package_and_remains_its_attribute(package):
    small = importlib.import_module("heavy_package.small")

    assert small.part == "small"
    assert "answer" not in vars(package)
    assert package.answer == 42
    assert package.small is small


def test_a_submodule_can_import_another_while_it_loads(package, tmp_path):
    """As obspy.signal.invsim imports util: loading the package would use the half-loaded module."""
    (tmp_path / "heavy_package/util.py").write_text("from heavy_package import small\n")

    util = importlib.import_module("heavy_package.util")

    assert util.small.part == "small"
    assert "answer" not in vars(package)


def test_concurrent_threads_load_the_package_once(package):
    with ThreadPoolExecutor(4) as pool:
        answers = list(pool.map(lambda _: package.answer, range(4)))

    assert answers == [42] * 4
    assert package.loaded == [1]


def test_a_missing_attribute_raises_as_usual(package):
    with pytest.raises(AttributeError, match="nothing"):
        package.nothing  # noqa: B018


def test_a_loaded_package_is_not_changed():
    before = sys.modules["concurrent.futures"]

    defer_package("concurrent.futures")

    assert sys.modules["concurrent.futures"] is before
