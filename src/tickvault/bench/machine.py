"""What the figures were measured on.

Invariants: facts only, and none that names the machine or its user; a fact that cannot be read is None.
"""

from __future__ import annotations

import os
import platform
import re
import shutil
import subprocess
from typing import Any

from tickvault._version import __version__


def _first_match(path: str, pattern: str) -> str | None:
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            found = re.search(pattern, file.read(), re.MULTILINE)
    except OSError:
        return None
    return found.group(1).strip() if found else None


def file_system_of(path: str) -> str | None:
    """Return the type of the file system that holds a folder, for example ``ext4``; None if unknown."""
    try:
        device = os.stat(path).st_dev
    except OSError:
        return None
    number = re.escape(f"{os.major(device)}:{os.minor(device)}")
    return _first_match("/proc/self/mountinfo", rf"^\d+ \d+ {number} .* - (\S+) ")


def nginx_path() -> str | None:
    """Return the nginx to compare with, None when it is not installed."""
    # Debian puts it where only root's PATH looks.
    return shutil.which("nginx", path=os.environ.get("PATH", "") + ":/usr/sbin:/usr/local/sbin")


def nginx_version() -> str | None:
    """Return nginx's version, None when it is not installed."""
    path = nginx_path()
    if path is None:
        return None
    told = subprocess.run([path, "-v"], capture_output=True, text=True, check=False).stderr
    return told.strip().rpartition("/")[2] or None


def describe_machine(folder: str) -> dict[str, Any]:
    """Describe the machine, for the report.

    Parameters
    ----------
    folder : str
        Where the measured vault lies; its file system is part of the description.

    Returns
    -------
    dict
        JSON-like; sizes in bytes.
    """
    return {
        "cpu": _first_match("/proc/cpuinfo", r"^model name\s*: (.*)$") or platform.machine(),
        "core_count": len(os.sched_getaffinity(0)),
        "memory_bytes": os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"),
        "file_system": file_system_of(folder),
        "kernel": f"{platform.system()} {platform.release()}",
        "python": platform.python_version(),
        "tickvault": __version__,
        "nginx": nginx_version(),
        "load_average": round(os.getloadavg()[0], 2),
    }
