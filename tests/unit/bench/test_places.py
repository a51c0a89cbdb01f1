import os

import pytest

from tickvault.bench.places import bench_folder
from tickvault.errors import DiskFullError, InvalidInputError


def test_the_folder_is_made_where_asked_and_removed_also_after_an_error(tmp_path):
    with pytest.raises(RuntimeError):
        with bench_folder(str(tmp_path), 0) as folder:
            assert os.path.dirname(folder) == str(tmp_path)
            (tmp_path / os.path.basename(folder) / "file").touch()
            raise RuntimeError
    assert os.listdir(tmp_path) == []


def test_a_vault_is_left_alone(tmp_path):
    vault = tmp_path / "vault"
    vault.mkdir()
    (vault / "format.json").touch()
    with bench_folder(str(vault), 0) as folder:
        assert os.path.dirname(folder) == str(tmp_path)


def test_a_missing_folder_and_a_full_disk_are_refused_in_words(tmp_path):
    with (
        pytest.raises(InvalidInputError, match="name a folder that exists"),
        bench_folder(str(tmp_path / "no"), 0),
    ):
        pass
    with pytest.raises(DiskFullError, match="MiB must be free"), bench_folder(str(tmp_path), 1 << 60):
        pass
