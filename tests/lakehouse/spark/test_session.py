"""What is missing for Spark is said before Spark is started."""

from pathlib import Path

import pytest

from lakehouse.errors import PlatelakeError
from lakehouse.spark.session import check_installed


def test_without_java_it_is_one_sentence(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("JAVA_HOME", str(tmp_path))
    with pytest.raises(PlatelakeError, match=r"needs Java 17 or newer; JAVA_HOME=.*Correct"):
        check_installed()
