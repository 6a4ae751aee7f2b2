"""Pages for a browser, each one file: pictures lie in it, and it asks no network for anything."""

from __future__ import annotations

import base64
import os
from pathlib import Path
from typing import Any
from urllib.parse import quote

from face_organizer.files import atomic_write, jpeg, printable
from face_organizer.types import Image

_QUALITY = 80


def write(path: Path, package: str, template: str, **values: Any) -> None:
    """Fill the Jinja `template` of `package` with `values`, every text escaped, and write it to `path`,
    replacing what is there."""
    import jinja2

    loader = jinja2.PackageLoader(package, "")
    pages = jinja2.Environment(loader=loader, autoescape=True, undefined=jinja2.StrictUndefined)
    pages.filters |= {"picture": picture, "link": link, "printable": printable}
    page = pages.get_template(template).render(values)
    with atomic_write(path) as file:
        file.write(page.encode("utf-8", "replace"))


def picture(pixels: Image, side: int) -> str:
    """(n, n, 3) RGB `pixels`, shrunk to `side`, as an address that holds them."""
    from PIL import Image as Pillow

    small = Pillow.fromarray(pixels).resize((side, side), Pillow.Resampling.LANCZOS)
    return f"data:image/jpeg;base64,{base64.b64encode(jpeg(small, _QUALITY)).decode('ascii')}"


def link(path: str) -> str:
    """The address of a file: of an absolute `path`, or of one relative to the page."""
    return ("file://" if os.path.isabs(path) else "") + quote(os.fsencode(path))
