"""How long `dstc --help` and every other --help takes.

In: the installed command. Out: the median wall time of each, in milliseconds.
"""

import argparse
import statistics
import subprocess
import sys
import time
from pathlib import Path

from dstc.compiler.cli.main import COMMANDS


def median_ms(command: list[str], runs: int) -> float:
    times: list[float] = []
    for _ in range(runs):
        start = time.perf_counter()
        subprocess.run(command, stdout=subprocess.DEVNULL, check=True)
        times.append(time.perf_counter() - start)
    return 1000 * statistics.median(times)


def main() -> None:
    parser = argparse.ArgumentParser(description="measure the start-up time of the command line")
    parser.add_argument("-n", type=int, default=5, help="runs of each command (default: 5)")
    args = parser.parse_args()
    dstc = str(Path(sys.executable).with_name("dstc"))
    for words in ([], *([c] for c in COMMANDS)):
        ms = median_ms([dstc, *words, "--help"], args.n)
        print(f"{' '.join(['dstc', *words, '--help']):28} {ms:6.0f} ms")


if __name__ == "__main__":
    main()
