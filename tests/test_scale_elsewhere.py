"""Workers on other machines, which see the object store and nothing of the driver's disk."""

import io
import json
import os
import pickle
import shutil
import subprocess
import sys
import tarfile
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from featx.data.places import open_place
from featx.data.sources import open_source
from featx.scale.cutting import cut
from featx.types import Vectors
from objectstore import READER
from scaling import DIM, assigned, numbers

pytestmark = pytest.mark.s3

WORKER = """
import json, pickle, sys
from pathlib import Path
from featx.errors import StoreError
from featx.scale.worker import Worker
assignment, unit = pickle.loads(Path(sys.argv[1]).read_bytes())
try:
    outcome = Worker(assignment).do(unit)
except StoreError as error:
    print(json.dumps(str(error)))
else:
    print(json.dumps([outcome.entry["name"], outcome.failed]))
"""


def work(folder: Path, url: str, **environment: str) -> list[object] | str:
    """List a source, lose all copies of it, and give its one unit to another process."""
    source = open_source(url, modality="array", names_contents=True)
    (unit,) = cut(source, size=64, seed="")
    (folder / "unit").write_bytes(pickle.dumps((assigned(folder / "t.emb"), unit)))
    shutil.rmtree(folder / "cache", ignore_errors=True)
    done = subprocess.run(
        [sys.executable, "-c", WORKER, str(folder / "unit")],
        env={**os.environ, "FEATX_CACHE_DIR": str(folder / "another"), **environment},
        capture_output=True,
        text=True,
        check=True,
    )
    found: list[object] | str = json.loads(done.stdout)
    return found


def npy(x: Vectors) -> bytes:
    file = io.BytesIO()
    np.save(file, x)
    return file.getvalue()


def put(bucket: str, name: str, X: Vectors) -> None:
    """Put the rows of a matrix in a bucket, in the form that a name asks for."""
    place, file = open_place(bucket), io.BytesIO()
    table = pa.table({f"x{column}": X[:, column] for column in range(DIM)})
    if ".tar" in name:
        with tarfile.open(fileobj=file, mode="w:gz" if name.endswith("gz") else "w") as tar:
            for number, x in enumerate(X):
                member = tarfile.TarInfo(f"{number}.npy")
                member.size = len(npy(x))
                tar.addfile(member, io.BytesIO(npy(x)))
    elif name.endswith("parquet"):
        pq.write_table(table, file)
    elif name.endswith("jsonl"):
        file.write("\n".join(map(json.dumps, table.to_pylist())).encode())
    elif name.endswith("npy"):
        file.write(npy(X))
    else:
        for number, x in enumerate(X):
            place.put(f"files/{number}.npy", npy(x))
        file.write("\n".join(f"files/{number}.npy" for number in range(len(X))).encode())
    place.put(name, file.getvalue())


@pytest.mark.parametrize(
    "name", ["x.tar", "x.tar.gz", "x.parquet", "x.jsonl", "x.npy", "x.list", "files"]
)
def test_a_worker_with_an_empty_cache_embeds_what_lies_in_a_bucket(
    bucket: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.setenv("FEATX_CACHE_DIR", str(tmp_path / "cache"))
    X = numbers(20)
    put(bucket, name if name != "files" else "x.list", X)

    found = work(tmp_path, f"{bucket}/{name}")

    assert not isinstance(found, str)
    segment, failed = found
    assert failed == []
    np.testing.assert_array_equal(np.load(tmp_path / "t.emb" / f"{segment}.npy"), X)
    assert not (tmp_path / "another" / "places").exists()


def test_a_worker_with_wrong_credentials_refuses_a_unit(
    bucket: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FEATX_CACHE_DIR", str(tmp_path / "cache"))
    put(bucket, "x.tar", numbers(20))

    said = work(
        tmp_path, f"{bucket}/x.tar", AWS_ACCESS_KEY_ID=READER, AWS_SECRET_ACCESS_KEY="another"
    )

    assert isinstance(said, str)
    assert f"can read nothing of a unit: {bucket}/x.tar: the secret key does not belong" in said
    assert list((tmp_path / "t.emb").glob("segment-*")) == []
