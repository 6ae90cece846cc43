"""``featx doctor`` finds what is broken, and names the cure."""

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from featx.cli import main
from featx.cli.doctor import (
    FAISSES,
    RUNTIMES,
    clash,
    file_system,
    network_warning,
    object_stores,
    threads,
)
from featx.data.places.trouble import CREDENTIALS

MOUNTS = r"""/dev/root / ext4 rw 0 0
server:/home /home nfs4 rw 0 0
/dev/sdb /home/my\040disk xfs rw 0 0
/dev/sdc /mnt ext4 rw 0 0
ann@host: /mnt fuse.sshfs rw 0 0
"""


def doctor(*argv: str) -> Result:
    return CliRunner().invoke(main, ["doctor", *argv])


def test_two_runtimes_clash_and_the_cure_keeps_the_one_with_cuda() -> None:
    problem = clash({"onnxruntime": "1.31", "onnxruntime-gpu": "1.31"}, RUNTIMES)

    assert problem == (
        "onnxruntime and onnxruntime-gpu overwrite each other; run: "
        "pip uninstall -y onnxruntime onnxruntime-gpu "
        "&& pip install --force-reinstall onnxruntime-gpu"
    )


@pytest.mark.parametrize("installed", [{}, {"faiss-cpu": "1.15"}, {"faiss-gpu": "1.15"}])
def test_one_distribution_does_not_clash(installed: dict[str, str]) -> None:
    assert clash(installed, FAISSES) == ""


@pytest.mark.parametrize(
    ("path", "kind"),
    [
        ("/var/cache", "ext4"),
        ("/home/ann/.cache", "nfs4"),
        ("/home/my disk/cache", "xfs"),
        ("/mnt", "fuse.sshfs"),
        ("/homes", "ext4"),
    ],
)
def test_the_longest_and_latest_mount_counts(path: str, kind: str) -> None:
    assert file_system(Path(path), MOUNTS) == kind


@pytest.mark.parametrize("kind", ["nfs", "nfs4", "cifs", "smb3", "fuse.sshfs"])
def test_a_network_file_system_is_warned_of(kind: str) -> None:
    assert f"on {kind}, a network file system" in network_warning(Path("/c"), kind)


@pytest.mark.parametrize("kind", ["ext4", "xfs", "tmpfs", "overlay", "unknown"])
def test_a_local_file_system_is_not_warned_of(kind: str) -> None:
    assert network_warning(Path("/c"), kind) == ""


def test_threads_say_what_limits_them() -> None:
    assert threads({"OMP_NUM_THREADS": "3"})["OMP_NUM_THREADS"] == "3"
    assert threads({})["OMP_NUM_THREADS"] == "not set"


def test_object_stores_say_which_credentials_are_set_and_none_of_them(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name in CREDENTIALS["gs"] + CREDENTIALS["az"] + ("AWS_SESSION_TOKEN",):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "hidden")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "hidden too")
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://me:hidden@127.0.0.1:9000")

    assert object_stores({"obstore": "0.12.1"}) == {
        "obstore": "0.12.1",
        "s3://": "AWS_ACCESS_KEY_ID AWS_SECRET_ACCESS_KEY, at http://127.0.0.1:9000",
        "gs://": "no credentials",
        "az://": "no credentials",
    }
    assert object_stores({})["obstore"] == "missing; featx[s3] has it"


def test_doctor_proves_the_cpu_and_the_shipped_zoo(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    found = json.loads(doctor("--json", "--cache-dir", str(tmp_path / "cache")).stdout)

    assert found["sections"]["providers"]["cpu"] == "works, as cpu"
    assert found["sections"]["zoo"]["ge2e"] == "ok, 1 file right, no vectors compared"
    assert found["sections"]["zoo"]["paraphrase-minilm-l3"] == "not fetched"
    assert found["sections"]["cache"]["folder"] == str(tmp_path / "cache")
    assert found["ok"] == (not found["problems"])
    assert not (tmp_path / "cache").exists()


def test_doctor_names_a_broken_backbone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "bad.toml").write_text("schema = 1\npoolin = 'mean'\n")
    monkeypatch.setenv("FEATX_ZOO", str(tmp_path))

    result = doctor("--cache-dir", str(tmp_path))

    assert result.exit_code == 1
    assert f"BROKEN: bad: {tmp_path / 'bad.toml'}: unknown key 'poolin'" in result.stdout
    assert "all well" not in result.stdout
