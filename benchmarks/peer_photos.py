"""The limit of photos: processes that only hash, check, decode and resize them.

    python benchmarks/peer_photos.py LANDING FOLDER

As many as there are processors. Names of pictures and tensors go to FOLDER.parquet.
"""

import sys
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from lakehouse.files.photos import read_photo
from lakehouse.settings import load_settings
from lakehouse.stage import load_stage

STAGE, SETTINGS = load_stage("chromate"), load_settings()


def read(file: Path) -> tuple[str, bytes]:
    """The picture's hash and its tensor."""
    found = read_photo(file.read_bytes(), STAGE, SETTINGS)
    return found.pixel_sha256, found.tensor.tobytes()


def main(landing: Path, folder: Path) -> None:
    """All of them."""
    with ProcessPoolExecutor() as processes:
        found = list(processes.map(read, sorted(landing.rglob("*.png")), chunksize=16))
    columns = zip(*found, strict=True)
    table = pa.table(dict(zip(("pixel_sha256", "tensor"), map(list, columns), strict=True)))
    pq.write_table(table, f"{folder}.parquet", compression="none", use_dictionary=False)


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
