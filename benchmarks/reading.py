"""Reading a training split of TACRED's size: ours (decoded and validated) against `json.loads` (decoded only).

    python benchmarks/reading.py [FILE] [--runs 5]

Without FILE the synthetic corpus is generated at full size. Each run is a process of its own; prints a Markdown table
with the median seconds and the peak memory. The garbage collector is left as Python starts it.
"""

import argparse
import json
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from tacred_utils.corpora.reader import read_split

READERS = {"json.loads": lambda path: json.loads(path.read_bytes()), "read_split": read_split}


def measure(reader: str, path: Path) -> tuple[float, float]:
    """Seconds and peak memory in MB of reading one file in this process."""
    start = time.perf_counter()
    records = READERS[reader](path)
    seconds = time.perf_counter() - start
    assert records
    return seconds, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("file", nargs="?", type=Path)
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--one", choices=READERS, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.one:
        print(*measure(options.one, options.file))
        return
    with tempfile.TemporaryDirectory() as folder:
        if options.file is None:
            command = [sys.executable, "-m", "tacred_utils", "data", "make-sample", "--out", folder]
            subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
            options.file = Path(folder) / "train.json"
        print(f"{options.file.stat().st_size / 1e6:.0f} MB, {options.runs} runs each\n")
        print("| reader | median s | min s | max s | peak MB |\n|---|---:|---:|---:|---:|")
        for reader in READERS:
            command = [sys.executable, __file__, str(options.file), "--one", reader]
            shown = [
                subprocess.run(command, check=True, capture_output=True, text=True).stdout.split()
                for _ in range(options.runs)
            ]
            seconds, memory = ([float(row[column]) for row in shown] for column in (0, 1))
            print(
                f"| {reader} | {statistics.median(seconds):.2f} | {min(seconds):.2f} | {max(seconds):.2f} | {max(memory):.0f} |"
            )


if __name__ == "__main__":
    main()
