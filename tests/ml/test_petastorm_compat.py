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
    from ml.petastorm_compat import make_batch_reader  # Takes a second: not to collect.

    with make_batch_reader(
        files,
        filesystem=LocalFileSystem(),
        reader_pool_type="dummy",
        shuffle_row_groups=seed is not None,
        seed=seed,
        num_epochs=1,
    ) as reader:
        groups = list(reader)
    assert len(groups) == 12
    keys = np.concatenate([group.key for group in groups])
    assert sorted(keys) == list(range(ROWS))
    names = [name for group in groups for name in group.name]
    assert names == [f"name {key}" for key in keys]
    contents = [content for group in groups for content in group.content]
    assert contents == [name.encode() for name in names]
    assert (list(keys) == list(range(ROWS))) is (seed is None)
    assert not capsys.readouterr().out


def test_a_piece_is_a_row_group_or_the_file(files: list[str]) -> None:
    from ml.petastorm_compat import ParquetDataset, ParquetDatasetPiece

    (piece,) = ParquetDataset(files[0], LocalFileSystem()).pieces
    assert piece.get_metadata().num_row_groups == 4
    assert piece.read(["key"]).column("key").to_pylist() == list(range(200))
    group = ParquetDatasetPiece(files[0], LocalFileSystem().open, row_group=1)
    assert group.read(["key"]).column("key").to_pylist() == list(range(50, 100))


def test_pyarrow_and_numpy_stay_as_they_are() -> None:
    """In a process of its own: names that are removed stay so for everybody else."""
    code = (
        "import numpy, pyarrow.lib, pyarrow.parquet, sys\n"
        "before = pyarrow.parquet.ParquetDataset\n"
        "import ml.petastorm_compat\n"
        "assert pyarrow.parquet.ParquetDataset is before\n"
        "assert not hasattr(pyarrow.parquet, 'ParquetDatasetPiece')\n"
        "assert not {'pyarrow.filesystem', 'pyarrow.hdfs'} & set(sys.modules)\n"
        "assert not hasattr(numpy, 'unicode_') and not hasattr(pyarrow.lib, 'ArrowIOError')\n"
    )
    folder = Path(__file__).parent.parent.parent
    subprocess.run([sys.executable, "-W", "ignore", "-c", code], check=True, cwd=folder)
