"""petastorm on a current pyarrow: it reads what is there, and pyarrow stays as it is."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from fsspec.implementations.local import LocalFileSystem

ROWS, FILES = 600, 3


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """600 rows in three files of four row groups."""
    folder = tmp_path_factory.mktemp("parquet")
    paths = []
    for number in range(FILES):
        keys = np.arange(number * 200, number * 200 + 200)
        names = [f"name {key}" for key in keys]
        table = pa.table({"key": keys, "name": names, "content": [n.encode() for n in names]})
        paths.append(str(folder / f"{number}.parquet"))
        pq.write_table(table, paths[-1], row_group_size=50)
    return paths


@pytest.mark.parametrize("seed", [None, 0, 1])
def test_every_row_comes_once(
    files: list[str], seed: int | None, capsys: pytest.CaptureFixture[str]
) -> None:
    table = read(files, seed)
    keys = table["key"].to_pylist()
    assert sorted(keys) == list(range(ROWS))
    assert table["name"].to_pylist() == [f"name {key}" for key in keys]
    assert table["content"].to_pylist() == [f"name {key}".encode() for key in keys]
    assert (keys == list(range(ROWS))) is (seed is None)
    assert all(read(files, seed)["key"].to_pylist() == keys for _ in range(5))
    assert not capsys.readouterr().out


def read(files: list[str], seed: int | None) -> pa.Table:
    from ml.data.petastorm_compat import make_batch_reader  # Takes a second: not to collect.

    with make_batch_reader(files, ["key", "name", "content"], LocalFileSystem(), seed) as reader:
        return pa.Table.from_batches(reader)


def test_batches_are_small_and_row_groups_shuffled(files: list[str], tmp_path: Path) -> None:
    from ml.data.petastorm_compat import BATCH_BYTES, make_batch_reader

    path, many = str(tmp_path / "large.parquet"), 40
    content = [bytes([key]) * (BATCH_BYTES // 4) for key in range(many)]
    pq.write_table(
        pa.table({"key": range(many), "content": content}),
        path,
        row_group_size=10,
        compression="none",
        use_dictionary=False,
    )
    with make_batch_reader([path], ["key", "content"], LocalFileSystem(), 1) as reader:
        batches = list(reader)
    assert max(len(batch) for batch in batches) <= 4
    table = pa.Table.from_batches(batches)
    assert table["content"].to_pylist() == [content[key] for key in table["key"].to_pylist()]
    starts = table["key"].to_pylist()[::10]
    assert starts != sorted(starts) == [0, 10, 20, 30]


def test_pyarrow_and_numpy_stay_as_they_are() -> None:
    """In a process of its own: names that are removed stay so for everybody else."""
    code = (
        "import numpy, pyarrow.lib, pyarrow.parquet, sys\n"
        "before = pyarrow.parquet.ParquetDataset\n"
        "import ml.data.petastorm_compat\n"
        "assert pyarrow.parquet.ParquetDataset is before\n"
        "assert not hasattr(pyarrow.parquet, 'ParquetDatasetPiece')\n"
        "assert not {'pyarrow.filesystem', 'pyarrow.hdfs'} & set(sys.modules)\n"
        "assert not hasattr(numpy, 'unicode_') and not hasattr(pyarrow.lib, 'ArrowIOError')\n"
    )
    folder = Path(__file__).parents[3]
    subprocess.run([sys.executable, "-W", "ignore", "-c", code], check=True, cwd=folder)
