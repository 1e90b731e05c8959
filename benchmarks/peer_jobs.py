"""Ten jobs of a plant's day as a person would write them in PySpark with Delta.

    spark-submit benchmarks/peer_jobs.py JOB LANDING FOLDER LOT_MODEL PHOTO_MODEL

JOB is a name of `JOBS` or all. What lands is added once, by its file's name; what follows is
computed whole, with the bands of the first day. Photos have no labels, and nothing is checked.
"""

import hashlib
import io
import json
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
from peer_scoring import AT_ONCE, lot_verdicts, opened, photo_verdicts
from peer_spark import bands, failed_lots, features, label, read, summarise, sync
from PIL import Image
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

TENSORS = "pixel_sha256 string, file string, bytes binary, tensor binary"


def main(job: str, landing: str, folder: str, lot_model: str, photo_model: str) -> None:
    """One job, or all of them."""
    day = Day(Path(landing), folder, lot_model, photo_model)
    for name in JOBS if job == "all" else (job,):
        getattr(day, name)()
    day.spark.stop()


class Day:
    """The jobs, on the tables of a folder."""

    def __init__(self, landing: Path, folder: str, lot_model: str, photo_model: str) -> None:
        self.spark = SparkSession.builder.getOrCreate()
        self.landing, self.folder = landing, folder
        self.lot_model, self.photo_model = lot_model, photo_model

    def table(self, name: str) -> DataFrame:
        """A table, as it is."""
        return self.spark.read.format("delta").load(f"{self.folder}/{name}")

    def write(self, rows: DataFrame, name: str, mode: str = "overwrite") -> None:
        """Write a table whole, or add to it."""
        rows.write.format("delta").mode(mode).save(f"{self.folder}/{name}")

    def _new(self, rows: DataFrame, name: str, key: str) -> DataFrame:
        if not Path(self.folder, name).exists():
            return rows
        return rows.join(self.table(name).select(key).distinct(), key, "left_anti")

    def ingest_readings(self) -> None:
        """Days that the table does not have."""
        self.write(
            self._new(read(self.spark, self.landing), "readings", "day"), "readings", "append"
        )

    def ingest_error_lists(self) -> None:
        """The list."""
        self.write(failed_lots(self.spark, self.landing), "error_lists")

    def ingest_photos(self) -> None:
        """Photos whose file the table does not have."""
        files = self.spark.read.format("binaryFile").option("recursiveFileLookup", True)
        photos = files.load(str(self.landing / "photos")).select(
            F.col("path").alias("file"), "content"
        )
        # The landing zone moves between the rounds.
        name = F.regexp_extract("file", "[^/]+$", 0)
        new = self._new(photos.withColumn("file", name), "pictures", "file")
        self.write(new.mapInPandas(decode, TENSORS), "pictures", "append")

    def label(self) -> None:
        """All lots."""
        self.write(label(self.table("readings"), self.table("error_lists")), "lots")

    def features(self) -> None:
        """Of all lots."""
        readings, file = self.table("readings"), Path(self.folder, "bands.json")
        if not file.exists():
            file.write_text(json.dumps(bands(readings)))
        self.write(features(readings, json.loads(file.read_text())), "lot_features")

    def summarise(self) -> None:
        """All days."""
        self.write(summarise(self.table("readings")), "days")

    def sync(self) -> None:
        """Lots and days to SQLite."""
        tables = {name: self.table(name) for name in ("lots", "days")}
        sync(f"{self.folder}/summaries.db", tables)

    def score_lots(self) -> None:
        """Verdicts on all lots, in the driver."""
        rows = self.table("lot_features")
        columns = [F.col("day"), F.col("lot"), F.lit("first").alias("bands")]
        for name in rows.columns[2:]:
            both = name.endswith("_q")
            columns += [F.col(name)[0], F.col(name)[1]] if both else [F.col(name)]
        session, card = opened(self.lot_model)
        found = lot_verdicts(rows.select(columns).toArrow(), session, card)
        self.write(self.spark.createDataFrame(found), "lot_verdicts")

    def score_photos(self) -> None:
        """Verdicts on the pictures that have none, in the driver."""
        pictures = self.table("pictures").select("pixel_sha256", "tensor")
        new = self._new(pictures, "photo_verdicts", "pixel_sha256").toArrow()
        if new.num_rows:
            batches: Iterable[pa.RecordBatch] = new.to_batches(AT_ONCE)
            found = photo_verdicts(batches, *opened(self.photo_model))
            self.write(self.spark.createDataFrame(found), "photo_verdicts", "append")

    def maintain(self) -> None:
        """Compaction and vacuum of each table."""
        for table in sorted(Path(self.folder).glob("*/_delta_log")):
            self.spark.sql(f"OPTIMIZE delta.`{table.parent}`")
            self.spark.sql(f"VACUUM delta.`{table.parent}`")


JOBS = tuple(name for name in vars(Day) if name not in ("table", "write") and name[0] != "_")


def decode(batches: Iterator[pd.DataFrame]) -> Iterator[pd.DataFrame]:
    """Pictures and tensors of photos."""
    for photos in batches:
        rows = []
        for file, content in zip(photos["file"], photos["content"], strict=True):
            image = Image.open(io.BytesIO(content)).convert("RGB")
            name = hashlib.sha256(f"{image.width}x{image.height}:".encode())
            name.update(np.asarray(image).data)
            small = image.resize((224, 224), Image.Resampling.BILINEAR, reducing_gap=3.0)
            rows.append((name.hexdigest(), file, content, small.tobytes()))
        yield pd.DataFrame(rows, columns=["pixel_sha256", "file", "bytes", "tensor"])


if __name__ == "__main__":
    main(*sys.argv[1:])
