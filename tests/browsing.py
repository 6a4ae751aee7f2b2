"""A real browser for pages, where there is one."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
needs_browser = pytest.mark.skipif(CHROMIUM is None, reason="no Chromium to open the page in")


def opened(page: Path, profile: Path, *options: str, script: str = "") -> subprocess.CompletedProcess[str]:
    """The page as the browser made it (stdout), and its complaints (stderr); first `script` runs in it."""
    assert CHROMIUM
    if script:
        page.write_text(page.read_text().replace("</script>\n</body>", f"{script}</script></body>"))
    command = [CHROMIUM, "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"]
    command += ["--disable-background-networking", "--disable-component-update", "--disable-sync", *options]
    command += ["--enable-logging=stderr", "--virtual-time-budget=20000", f"--user-data-dir={profile}"]
    command += ["--dump-dom", page.as_uri()]
    return subprocess.run(command, capture_output=True, text=True, timeout=120, check=True)
