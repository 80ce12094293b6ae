#!/usr/bin/env python3
"""Build the files of a release: a bundle for the machine and the code of the submit function."""

from __future__ import annotations

import gzip
import io
import shutil
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from pathlib import Path

from xcor_daemon import __version__

ROOT = Path(__file__).resolve().parents[2]
_EPOCH = 315532800  # s: 1980-01-01, the first day that a zip file can name
# Files of the bundle that have another name or place there.
_RENAMED = {
    "systemd/requirements.txt": "requirements.txt",
    "docker/requirements.txt": "requirements-workers.txt",
    "docker/requirements-obspy.txt": "requirements-obspy.txt",
    "scripts/install-release": "install",
}
_KEPT = ("scripts/xcor-cron", "scripts/aws/forward-logs", "scripts/aws/forward-xcor-logs.service",
         "docs/operations.md", "docs/settings.md", "docs/commands.md", "LICENSE")  # fmt: skip
_OF_THE_FUNCTION = ("request", "storage", "web")  # packages; modules beside them are in, too


def build(folder: Path) -> tuple[Path, Path]:
    """Make both in a folder; gives the bundle and the function's code."""
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as name:
        wheel = build_wheel(Path(name))
        bundle = folder / f"xcor-daemon-{__version__}.tar.gz"
        bundle.write_bytes(bundle_of(wheel))
    code = folder / "submit.zip"
    code.write_bytes(submit_code())
    return bundle, code


def build_wheel(folder: Path) -> Path:
    """The package as a wheel."""
    source = folder / "source"
    # From a copy: a build leaves folders behind, and would take what older ones left.
    ignored = shutil.ignore_patterns("__pycache__", "*.egg-info")
    shutil.copytree(ROOT / "xcor_daemon", source / "xcor_daemon", ignore=ignored)
    for each in ("pyproject.toml", "setup.cfg", "README.md", "LICENSE"):
        shutil.copy(ROOT / each, source)
    made = ["--wheel", "--out-dir", folder, source]
    with_pip = [sys.executable, "-m", "pip", "wheel", "--no-deps", "--wheel-dir", folder, source]
    command = ["uv", "build", "--quiet", *made] if shutil.which("uv") else with_pip
    environ = {"SOURCE_DATE_EPOCH": str(_EPOCH)}
    subprocess.run(["env", *(f"{k}={v}" for k, v in environ.items()), *command], check=True)
    return next(folder.glob("*.whl"))


def bundle_of(wheel: Path) -> bytes:
    """The bundle: the wheel, its dependencies, the units, the installer."""
    files = {wheel.name: wheel}
    files |= {there: ROOT / here for here, there in _RENAMED.items()}
    files |= {name: ROOT / name for name in _KEPT}
    units = sorted(path for path in (ROOT / "systemd").rglob("*") if path.is_file())
    files |= {
        name: path for path in units if (name := path.relative_to(ROOT).as_posix()) not in _RENAMED
    }
    written = io.BytesIO()
    with (
        gzip.GzipFile(fileobj=written, mode="wb", mtime=_EPOCH) as packed,
        tarfile.open(fileobj=packed, mode="w", format=tarfile.PAX_FORMAT) as tar,
    ):
        for name, path in sorted(files.items()):
            about = tarfile.TarInfo(name)
            about.size, about.mtime = path.stat().st_size, _EPOCH
            about.mode = 0o755 if path.stat().st_mode & 0o100 else 0o644
            with path.open("rb") as file:
                tar.addfile(about, file)
    return written.getvalue()


def submit_code() -> bytes:
    """What POST /jobs needs of the package as a zip file; boto3 is in the function's runtime."""
    package = ROOT / "xcor_daemon"
    written = io.BytesIO()
    with zipfile.ZipFile(written, "w", zipfile.ZIP_DEFLATED) as archive:
        folders = [package, *(package / name for name in _OF_THE_FUNCTION)]
        files = [path for folder in folders for path in folder.glob("*.*")]
        for path in sorted(path for path in files if path.suffix in (".py", ".json")):
            about = zipfile.ZipInfo(f"xcor_daemon/{path.relative_to(package).as_posix()}")
            about.external_attr = 0o644 << 16
            about.compress_type = zipfile.ZIP_DEFLATED
            archive.writestr(about, path.read_bytes())
    return written.getvalue()


if __name__ == "__main__":
    for made in build(Path(sys.argv[1])):
        print(made)
