"""The C++ header reads what numpy reads, and refuses what `open_warm` refuses."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from codec_made import trades

from tickvault.market.codec import Identity, encode_warm, joined, open_warm

INCLUDE = Path(__file__).parents[4] / "include"
PROGRAM = r"""
#include <tickvault/column.hpp>
#include <cstdio>

template <typename T>
void tell(const tickvault::ColumnFile& file, const tickvault::ColumnInfo& info) {
  const auto values = file.column<T>(info.name);
  std::uint64_t sum = 0, weighted = 0;
  for (std::size_t row = 0; row < values.size(); ++row) {
    sum += static_cast<std::uint64_t>(values[row]);
    weighted += static_cast<std::uint64_t>(values[row]) * (row + 1);
  }
  std::printf("%s %s %llu %llu %llu %zu", info.name.c_str(), info.dtype.c_str(), (unsigned long long)sum,
              (unsigned long long)weighted, (unsigned long long)info.null_count, info.words.size());
  for (const auto& word : info.words) std::printf(" %s", word.c_str());
  std::printf("\n");
}

int main(int count, char** arguments) {
  try {
    for (int number = 1; number < count; ++number) {
      const tickvault::ColumnFile file(arguments[number]);
      file.verify();
      if (tickvault::detail::crc32c_by_table((const unsigned char*)"123456789", 9) != 0xE3069283u) return 3;
      std::printf("%s %llu %llu %lld %lld %d %zu\n", file.schema().c_str(), (unsigned long long)file.row_count(),
                  (unsigned long long)file.size_scale(), (long long)file.ts_first(), (long long)file.ts_last(),
                  (int)file.is_sorted(), file.runs().size());
      for (const auto& info : file.columns()) {
        if (info.dtype == "<i8") tell<std::int64_t>(file, info);
        else if (info.dtype == "<u8") tell<std::uint64_t>(file, info);
        else if (info.dtype == "<i4") tell<std::int32_t>(file, info);
        else if (info.dtype == "<u4") tell<std::uint32_t>(file, info);
        else if (info.dtype == "<u2") tell<std::uint16_t>(file, info);
        else if (info.dtype == "|u1") tell<std::uint8_t>(file, info);
        else return 4;
      }
      try {
        file.column<std::uint16_t>("price");
        return 5;
      } catch (const tickvault::Error&) {
      }
    }
  } catch (const tickvault::Error& error) {
    std::printf("refused: %s\n", error.what());
    return 2;
  }
  return 0;
}
"""


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    compiler = shutil.which("g++") or shutil.which("c++") or shutil.which("clang++")
    if compiler is None:
        pytest.skip("NOT TESTED: there is no C++ compiler here to compile include/tickvault/column.hpp with")
    folder = tmp_path_factory.mktemp("cpp")
    source = folder / "read.cpp"
    source.write_text(PROGRAM)
    flags = ["-std=c++17", "-O1", "-Wall", "-Wextra", "-Werror", "-pedantic", f"-I{INCLUDE}"]
    subprocess.run([compiler, *flags, str(source), "-o", str(folder / "read")], check=True)
    yield folder / "read"


def _run(program: Path, path: Path) -> tuple[int, list[str]]:
    done = subprocess.run([str(program), str(path)], capture_output=True, text=True, check=False)
    return done.returncode, done.stdout.splitlines()


@pytest.mark.parametrize("rows", [0, 1, 50_000])
def test_the_same_numbers(program: Path, tmp_path: Path, rows: int) -> None:
    columns = trades(rows)
    identity = Identity(np.arange(rows, dtype=np.int64) % 2, np.arange(rows, dtype=np.int64))
    path = tmp_path / "file.warm"
    path.write_bytes(joined(encode_warm(columns, identity)))
    file = open_warm(path.read_bytes())
    code, lines = _run(program, path)
    assert code == 0, lines
    footer = file.footer
    assert lines[0].split() == [
        "trades", str(rows), "10", str(footer.ts_first), str(footer.ts_last), str(int(footer.is_sorted)),
        str(len(footer.runs)),
    ]  # fmt: skip
    assert len(lines) == 1 + len(footer.columns)
    hidden = {"_source": identity.source_ids, "_ordinal": identity.ordinals}
    for line, info in zip(lines[1:], footer.columns, strict=True):
        name = info.column.name
        values = hidden[name] if name in hidden else file.columns()[name]
        wide = values.astype(np.int64).view(np.uint64) if values.dtype.kind == "i" else values.astype(np.uint64)
        weights = np.arange(1, rows + 1, dtype=np.uint64)
        assert line.split() == [
            name, info.column.dtype.str, str(int(wide.sum(dtype=np.uint64))), str(int((wide * weights).sum())),
            str(info.null_count), str(len(info.words)), *info.words,
        ]  # fmt: skip


def test_damage_is_refused(program: Path, tmp_path: Path) -> None:
    whole = joined(encode_warm(trades(300), [(1, 0, 300)], {"venue": "XNAS"}))
    path = tmp_path / "file.warm"
    random = np.random.default_rng(7)
    data_end = open_warm(whole).footer.data_end
    places = [0, 8, 12, 64, data_end - 1, data_end, len(whole) - 32, len(whole) - 1]
    for place in [*places, *random.integers(0, len(whole), 40).tolist()]:
        broken = bytearray(whole)
        broken[place] ^= 0x04
        path.write_bytes(broken)
        code, lines = _run(program, path)
        assert (code, lines[-1].split(":")[0]) == (2, "refused"), place
    for size in [0, 1, 63, 95, 96, data_end, len(whole) - 1]:
        path.write_bytes(whole[:size])
        assert _run(program, path)[0] == 2, size
    path.write_bytes(whole + b"\0")
    assert _run(program, path)[0] == 2
    assert _run(program, tmp_path / "nothing")[0] == 2
