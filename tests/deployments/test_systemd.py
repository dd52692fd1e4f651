"""The units for systemd: it accepts them, they start what there is, hold no secret, and are hardened."""

from __future__ import annotations

import re
import shlex
import shutil
import subprocess
from pathlib import Path

import pytest
import yaml

from tests.test_refusals_lead_on import problem

ROOT = Path(__file__).parents[2]
UNITS = sorted((ROOT / "deployments" / "systemd").glob("*.service"))
HOME = "/srv/posthorn"
MOST_EXPOSED = 30
"""Of 100, as `systemd-analyze security` counts; a unit without any hardening has 96."""

needs_systemd = pytest.mark.skipif(
    shutil.which("systemd-analyze") is None,
    reason="systemd-analyze is not installed (Debian: apt-get install systemd): the units were not checked",
)


def settings_of(unit: Path) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for name, value in re.findall(r"^(\w+)=(.*)$", unit.read_text(encoding="utf-8"), flags=re.MULTILINE):
        found.setdefault(name, []).append(value)
    return found


def test_there_is_a_unit_for_each_process() -> None:
    assert [unit.stem for unit in UNITS] == ["posthorn-metrics", "posthorn-server", "posthorn-webhooks", "posthorn-worker"]


@pytest.mark.parametrize("unit", UNITS, ids=lambda unit: unit.stem)
def test_a_unit_starts_what_there_is_and_holds_no_secret(unit: Path) -> None:
    said = settings_of(unit)
    program, *words = shlex.split(said["ExecStart"][0])
    installed = ROOT / Path(program).relative_to(HOME)
    assert installed.is_file()
    if installed.name == "posthorn":
        assert problem(shlex.join(words), whole=True) is None
    if installed.name == "prefect":
        pool = yaml.safe_load((ROOT / "deployments" / "prefect.yaml").read_text(encoding="utf-8"))["deployments"][0]
        assert words[words.index("--pool") + 1] == pool["work_pool"]["name"]
    assert said["EnvironmentFile"] == [f"/etc/posthorn/{unit.stem.removeprefix('posthorn-')}.env"], "a file of root's, 0600"
    visible = " ".join([*said["ExecStart"], *said["Environment"]])
    assert not re.search(r"AUTH_STRING|TOKEN|PASSWORD|API_KEY|SECRET|DATABASE_URL|://", visible)
    assert (said["UMask"], said["StateDirectoryMode"], said["User"]) == (["0077"], ["0700"], ["posthorn"])


@needs_systemd
@pytest.mark.parametrize("unit", UNITS, ids=lambda unit: unit.stem)
def test_systemd_accepts_a_unit_and_finds_it_hardened(unit: Path, tmp_path: Path) -> None:
    here = tmp_path / unit.name
    here.write_text(unit.read_text(encoding="utf-8").replace(HOME, str(ROOT)), encoding="utf-8")
    verified = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", str(here)], capture_output=True, text=True, timeout=120, check=False
    )
    assert (verified.returncode, verified.stdout + verified.stderr) == (0, "")
    judged = subprocess.run(
        ["systemd-analyze", "security", "--offline=true", f"--threshold={MOST_EXPOSED}", "--no-pager", str(here)],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert judged.returncode == 0, judged.stdout[-2000:] + judged.stderr
