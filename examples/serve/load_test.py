"""Send images to the service, and print throughput and latency: ``python load_test.py photos/*.jpg``."""

import argparse
import json
import math
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from itertools import cycle, islice
from pathlib import Path
from urllib.error import HTTPError
from urllib.request import Request, urlopen


def send(url: str, body: bytes) -> tuple[float, str]:
    """Send an image; return the seconds until the answer, and the error or an empty string."""
    start = time.perf_counter()
    error = ""
    try:
        with urlopen(Request(url, body), timeout=120) as response:
            json.load(response)
    except HTTPError as refusal:
        error = f"{refusal.code}: {refusal.read().decode(errors='replace')}"
    except (OSError, ValueError) as failure:
        error = str(failure)
    return time.perf_counter() - start, error


def main() -> int:
    """Run the test; return 1 if a request failed."""
    parser = argparse.ArgumentParser(description="Send images to the service, and measure its answers.")
    parser.add_argument("images", nargs="+", type=Path)
    parser.add_argument("--url", default="http://127.0.0.1:8000/detect")
    parser.add_argument("--requests", type=int, default=200)
    parser.add_argument("--concurrency", type=int, default=8, help="requests at a time")
    arguments = parser.parse_args()
    bodies = islice(cycle([path.read_bytes() for path in arguments.images]), arguments.requests)
    start = time.perf_counter()
    with ThreadPoolExecutor(arguments.concurrency) as pool:
        answers = list(pool.map(lambda body: send(arguments.url, body), bodies))
    elapsed = time.perf_counter() - start
    errors = [error for _, error in answers if error]
    latencies = sorted(seconds for seconds, error in answers if not error)
    print(f"{len(latencies)} answers, {len(errors)} failed, {len(latencies) / elapsed:.2f} images/s")
    if latencies:
        p50, p95, p99 = (latencies[math.ceil(share * len(latencies)) - 1] for share in (0.5, 0.95, 0.99))
        print(f"latency: p50 {p50:.3f} s, p95 {p95:.3f} s, p99 {p99:.3f} s")
    for error in sorted(set(errors)):
        print(f"{errors.count(error)} x {error}")
    return 1 if errors else 0


if __name__ == "__main__":
    sys.exit(main())
