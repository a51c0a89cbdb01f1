"""The page about encryption at rest: its blocks run, in their order, as they stand there."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[3]
PAGE = (ROOT / "docs" / "how-to" / "encrypt-at-rest.md").read_text()


def test_the_blocks_run(tmp_path: Path) -> None:
    command = tmp_path / "bin" / "tickvault"
    command.parent.mkdir()
    command.write_text(f"#!/bin/sh\nexec {sys.executable} -c 'from tickvault.cli import main; main()' \"$@\"\n")
    command.chmod(0o755)
    clean = {name: value for name, value in os.environ.items() if not name.startswith("TICKVAULT_")}
    script = ["set -e"]
    for language, block in re.findall(r"^```(python|sh)\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL):
        if language == "sh":
            script.append(block)
        else:
            script.append(f"{sys.executable} - <<'BLOCK'\nimport tickvault as tv\n{block}BLOCK")
    assert len(script) > 6
    done = subprocess.run(
        ["/bin/sh", "-c", "\n".join(script)],
        cwd=tmp_path,
        env={**clean, "PATH": f"{command.parent}:{clean['PATH']}"},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "suite='aes-256-gcm', key_id='default-aes-256-gcm'" in done.stdout
    assert "desk-7" in done.stdout
    assert "1 version would become unreadable" in done.stderr
    assert not (tmp_path / "data" / "security" / "keyring.key").exists()


def test_every_command_of_keys_is_on_the_page() -> None:
    from tickvault.cli.keys import keys

    for name in keys.commands:
        assert re.search(rf"keys {name}\b", PAGE), name
