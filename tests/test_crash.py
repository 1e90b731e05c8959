"""A run killed with SIGKILL at seeded moments, then run again: equal tables, nothing twice.

Three moments by default, and only of runs that the driver computes: tests/stack/test_crash.py kills
one that Spark's workers compute. `make crash` takes twenty of each, the driver's on real data if
it is there.
"""

from collections.abc import Mapping
from pathlib import Path

import pytest

from lakehouse.landing.sample_plant import make_sample_plant
from lakehouse.stage import Stage
from tests.conftest import BY_SPARK, REAL
from tests.crash import MainJob, kill_and_run_again

pytestmark = pytest.mark.heavy


@pytest.fixture(scope="module")
def plant(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small landing zone, with a file that is held back."""
    plant = tmp_path_factory.mktemp("plant") / "plant"
    make_sample_plant(plant, days=3, lots_per_day=4, rows_per_lot=12, failed_lots=2, photos=6)
    (plant / "sensor" / "broken.csv").write_text("no header\n")
    return plant


@pytest.mark.timeout(7200)
@pytest.mark.parametrize("env", [{}, BY_SPARK], ids=["by the driver", "by Spark"])
def test_killed_and_run_again(
    request: pytest.FixtureRequest,
    plant: Path,
    tmp_path: Path,
    stage: Stage,
    env: Mapping[str, str],
) -> None:
    points = request.config.getoption("--kill-points")
    if env and not points:
        pytest.skip("takes minutes: `make crash`")
    real = REAL / "kamp" / "chromate"
    landing = real if points and not env and real.is_dir() else plant
    kill_and_run_again(MainJob(landing, str(tmp_path), tmp_path, env), stage, points or 3)
