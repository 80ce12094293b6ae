"""The page as files: those of ``site/``, limits.json, and config.json with its services.

The demo serves them; `write_page` writes them for a bucket or any other web server.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from ..atomic_files import Batch, make_folder, partial_of
from ..errors import ConfigError

_SUFFIXES = {".html", ".css", ".js", ".json", ".geojson", ".png", ".svg", ".txt"}
_LIMITS = Path(__file__).parents[1] / "request/limits.json"
_HEAD = '<meta charset="utf-8">\n'


@dataclass(frozen=True)
class Services:
    """The services of the page."""

    results: str  # URL of the bucket
    submit: str  # URL of POST /jobs; empty: the page offers the files of a job for download
    # name (a source of the workers), title, url, and example (initial filters)
    datacenters: Sequence[Mapping[str, Any]]
    basemaps: Sequence[Mapping[str, str]] = ()  # title, url with {z}, {x}, {y}, attribution
    cores: int = 0  # of all workers; 0: not shown
    usd_per_core_hour: float = 0.0  # 0: not shown

    @property
    def config(self) -> dict[str, Any]:
        """The content of config.json, which the page reads first."""
        return {
            "results": self.results,
            "submit": self.submit,
            "datacenters": list(self.datacenters),
            "basemaps": list(self.basemaps),
            "cores": self.cores,
            "usd_per_core_hour": self.usd_per_core_hour,
        }

    @property
    def policy(self) -> str:
        """Content-Security-Policy: the page's own scripts, and its services."""
        tiles = [basemap["url"] for basemap in self.basemaps]
        centres = [centre["url"] for centre in self.datacenters]
        return "; ".join(
            [
                "default-src 'none'",
                "script-src 'self'",
                "style-src 'self'",
                "base-uri 'none'",
                "form-action 'none'",
                " ".join(["img-src 'self' data:", *origins([self.results, *tiles])]),
                " ".join(["connect-src 'self'", *origins([self.results, self.submit, *centres])]),
            ]
        )


def read_services(results: str, submit: str, file: Path | None = None) -> Services:
    """The services of a public page: public data centres and maps, or those of ``file``.

    Raises
    ------
    ConfigError
        If ``file`` has another format than ``xcor_daemon/web/services.json``.
    """
    path = file or Path(__file__).with_name("services.json")
    try:
        chosen = json.loads(path.read_text("utf-8"))
        services = Services(results, submit, **chosen)
        assert services.policy  # every data centre and basemap has a url
    except (OSError, ValueError, TypeError, KeyError) as error:
        need = "write datacenters, optionally basemaps, cores, usd_per_core_hour, as services.json"
        raise ConfigError(f"{path} cannot be used ({error!r}); {need}.") from error
    return services


class Page:
    """The files of the page, by name; only files that exist at the start are opened."""

    def __init__(self, services: Services, site: Path | None = None) -> None:
        self.services = services
        site = site or find_site()
        self._files = {
            path.relative_to(site).as_posix(): path
            for path in sorted(site.rglob("*"))
            if path.is_file() and path.suffix in _SUFFIXES and not path.is_symlink()
        }
        self._files["limits.json"] = _LIMITS

    @property
    def names(self) -> list[str]:
        """Names of all files, such as ``css/base.css``."""
        return sorted([*self._files, "config.json"])

    def read(self, name: str) -> bytes | None:
        """The current content of a file; None where the page has no file of that name."""
        if name == "config.json":
            return json.dumps(self.services.config, indent=1).encode()
        path = self._files.get(name)
        content = path.read_bytes() if path else None
        if name == "index.html" and content is not None:
            # The website of a bucket sends no headers, so the page contains the policy as well.
            policy = escape(self.services.policy)
            meta = f'    <meta http-equiv="Content-Security-Policy" content="{policy}">\n'
            head, charset, rest = content.decode().partition(_HEAD)
            return f"{head}{charset}{meta}{rest}".encode()
        return content


def write_page(services: Services, folder: Path) -> list[str]:
    """Write all files of the page into a folder; returns their names.

    An interrupted earlier call for the same page is continued.

    Raises
    ------
    ConfigError
        If the folder contains other files.
    DiskError
        If a file cannot be written.
    """
    page = Page(services)
    contents = {folder / name: page.read(name) for name in page.names}
    partial = {partial_of(path) for path in contents}
    for path in sorted(folder.rglob("*")):
        is_page = path in contents and contents[path] == path.read_bytes()
        if not (is_page or path in partial or path.is_dir()):
            raise ConfigError(f"{folder} contains {path.name}; name a new folder for the page.")
    with Batch() as batch:
        for path, content in contents.items():
            assert content is not None
            make_folder(path.parent)
            batch.write_bytes(path, content)
    return page.names


def find_site() -> Path:
    """The folder of the page; in a checkout, ``xcor_daemon/site`` is a link to ``site``.

    Raises
    ------
    ConfigError
        If it does not exist.
    """
    site = Path(__file__).resolve().parents[1] / "site"
    if not (site / "index.html").is_file():
        raise ConfigError(f"the page is not installed: {site}/index.html does not exist.")
    return site


def origins(urls: Iterable[str]) -> list[str]:
    """Scheme and host of URLs, without paths on the page's own server."""
    parts = [urlsplit(url) for url in urls]
    return sorted({f"{part.scheme}://{part.netloc}" for part in parts if part.netloc})
