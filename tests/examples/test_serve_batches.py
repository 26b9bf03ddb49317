"""The batches of the HTTP service of ``examples/serve``."""

import asyncio

import pytest

pytest.importorskip("fastapi", reason="needs fastapi: pip install 'mvit_det[dev]'")
pytest.importorskip("uvicorn", reason="needs uvicorn: pip install 'mvit_det[dev]'")

from examples.serve import app
from examples.serve.app import Batcher


class RecordingDetector:
    """A detector whose detections are its images; it refuses empty ones."""

    def __init__(self):
        self.batches = []

    def __call__(self, images, batch_size):
        assert batch_size == len(images)
        self.batches.append((images, self.min_score))
        if "" in images:
            raise ValueError("empty")
        return images


def run_batcher(max_batch, *requests):
    """Return the batches and the results of requests that arrive together."""

    async def run():
        batcher = Batcher(RecordingDetector(), max_batch)
        task = asyncio.create_task(batcher.run())
        calls = [batcher.detect(*request) for request in requests]
        results = await asyncio.gather(*calls, return_exceptions=True)
        task.cancel()
        return batcher.detector.batches, results

    return asyncio.run(asyncio.wait_for(run(), 60))


def test_requests_are_collected_into_batches():
    requests = [("a", 0.5), ("b", 0.2), ("c", 0.3), ("d", 0.4), ("e", 0.6)]
    assert run_batcher(2, *requests) == (
        [(["a", "b"], 0.2), (["c", "d"], 0.3), (["e"], 0.6)],
        ["a", "b", "c", "d", "e"],
    )


def test_a_request_waits_for_others(monkeypatch):
    monkeypatch.setattr(app, "MAX_WAIT", 3600)

    async def run():
        batcher = Batcher(RecordingDetector(), 2)
        task = asyncio.create_task(batcher.run())
        first = asyncio.create_task(batcher.detect("a", 0.5))
        await asyncio.sleep(0.01)
        results = [await batcher.detect("b", 0.5), await first]
        task.cancel()
        return batcher.detector.batches, results

    assert asyncio.run(asyncio.wait_for(run(), 60)) == ([(["a", "b"], 0.5)], ["b", "a"])


def test_an_error_of_a_batch_does_not_end_the_service():
    batches, results = run_batcher(1, ("a", 0.5), ("", 0.5), ("b", 0.5))
    assert len(batches) == 3
    assert [str(result) for result in results] == ["a", "empty", "b"]


def test_a_cancelled_request_does_not_end_the_service():
    async def run():
        batcher = Batcher(RecordingDetector(), 1)
        request = asyncio.create_task(batcher.detect("a", 0.5))
        await asyncio.sleep(0)  # it is in the queue
        request.cancel()
        task = asyncio.create_task(batcher.run())
        result = await batcher.detect("b", 0.5)
        task.cancel()
        return result

    assert asyncio.run(asyncio.wait_for(run(), 60)) == "b"
