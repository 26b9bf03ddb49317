"""An HTTP service for an exported detector: ``python app.py FOLDER``."""

import argparse
import asyncio
import io
import time
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager, suppress
from typing import Annotated, Any, NamedTuple

import numpy as np
import uvicorn
from fastapi import FastAPI, HTTPException, Query, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError
from starlette.requests import ClientDisconnect

from mvit_det.data.pixels import to_pixels
from mvit_det.errors import one_line_errors, printable
from mvit_det.runtime import Detections, Detector

MAX_WAIT = 0.005  # seconds for which the first image of a batch waits for others
MAX_REQUESTS = 64  # at a time; further ones are refused
MAX_BYTES = 20_000_000  # of an upload
MAX_PIXELS = 25_000_000  # of an image
SHUTDOWN_SECONDS = 30  # in which requests are completed after SIGTERM
FORMATS = ("BMP", "GIF", "JPEG", "PNG", "TIFF", "WEBP")
BODY = {"required": True, "content": {"image/*": {"schema": {"type": "string", "format": "binary"}}}}


class Job(NamedTuple):
    """An image of the queue, (H, W, 3) RGB, and its future detections."""

    image: NDArray[np.uint8]
    min_score: float
    detections: asyncio.Future[Detections]


class Batcher:
    """Collects images into batches, and detects in one batch at a time, in a thread of its own."""

    def __init__(self, detector: Detector, max_batch: int) -> None:
        self.detector, self.max_batch = detector, max_batch
        self.queue: asyncio.Queue[Job] = asyncio.Queue()

    async def detect(self, image: NDArray[np.uint8], min_score: float) -> Detections:
        """Return the detections of an image; the caller removes those with scores below ``min_score``."""
        job = Job(image, min_score, asyncio.get_running_loop().create_future())
        self.queue.put_nowait(job)
        return await job.detections

    async def run(self) -> None:
        """Detect in the images of the queue, until this task is cancelled."""
        loop = asyncio.get_running_loop()
        with ThreadPoolExecutor(max_workers=1) as thread:
            while True:
                jobs = await self._next_batch()
                # The detections with a lower threshold include those with a higher one.
                self.detector.min_score = min(job.min_score for job in jobs)
                images = [job.image for job in jobs]
                try:
                    results = await loop.run_in_executor(thread, self.detector, images, len(images))
                except Exception as error:
                    for job in jobs:
                        if not job.detections.cancelled():
                            job.detections.set_exception(error)
                else:
                    for job, detections in zip(jobs, results, strict=True):
                        if not job.detections.cancelled():
                            job.detections.set_result(detections)

    async def _next_batch(self) -> list[Job]:
        jobs = [await self.queue.get()]
        with suppress(TimeoutError):
            async with asyncio.timeout(MAX_WAIT):
                while len(jobs) < self.max_batch:
                    jobs.append(await self.queue.get())
        return jobs


async def read_body(request: Request) -> bytes:
    """Return the body of a request."""
    body = bytearray()
    try:
        async for chunk in request.stream():
            body += chunk
            if len(body) > MAX_BYTES:
                raise HTTPException(413, f"the upload is too large: expected at most {MAX_BYTES:,} bytes")
    except ClientDisconnect:
        raise HTTPException(400, "the connection was closed during the upload") from None
    return bytes(body)


def decode(body: bytes) -> NDArray[np.uint8]:
    """Return the pixels of an image file, (H, W, 3) RGB."""
    try:
        image = Image.open(io.BytesIO(body), formats=FORMATS)
        if image.width * image.height <= MAX_PIXELS:
            image.load()
            return to_pixels(image)
    except UnidentifiedImageError:
        raise HTTPException(415, f"the body is not an image file; expected {', '.join(FORMATS)}") from None
    except Image.DecompressionBombError:
        pass
    except Exception as error:  # Pillow documents no set of exceptions for a damaged image
        raise HTTPException(400, printable(f"the image cannot be read: {error}")) from None
    raise HTTPException(413, f"the image is too large: expected at most {MAX_PIXELS:,} px")


def to_rle(mask: NDArray[np.bool_]) -> dict[str, list[int]]:
    """Return an (H, W) mask in COCO's uncompressed run-length encoding.

    ``counts`` are the lengths of alternating runs of pixels outside and inside the mask, column by column.
    The first run, which may have the length 0, is outside.
    """
    starts = np.flatnonzero(np.diff(mask.ravel(order="F"), prepend=False))
    return {"size": list(mask.shape), "counts": np.diff(starts, prepend=0, append=mask.size).tolist()}


def to_objects(detections: Detections, min_score: float, masks: bool) -> list[dict[str, Any]]:
    """Return the detections with scores above ``min_score`` as they are sent."""
    objects = []
    for index in np.flatnonzero(detections.confidence > min_score):
        item = {
            "class_id": int(detections.class_id[index]),
            "class_name": str(detections["class_name"][index]),
            "score": float(detections.confidence[index]),
            "box": detections.xyxy[index].tolist(),
        }
        if masks and detections.mask is not None:
            item["mask"] = to_rle(detections.mask[index])
        objects.append(item)
    return objects


def create_app(detector: Detector, max_batch: int = 1) -> FastAPI:
    """Return the service for a detector, which runs it on batches of at most ``max_batch`` images."""
    description = detector.description
    batcher = Batcher(detector, max_batch)
    slots = asyncio.Semaphore(MAX_REQUESTS)

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        task = asyncio.create_task(batcher.run())
        yield
        task.cancel()

    app = FastAPI(title="mvit_det", lifespan=lifespan)

    @app.exception_handler(RequestValidationError)
    async def explain(_: Request, error: RequestValidationError) -> JSONResponse:
        problems = [f"{item['loc'][-1]} {item['input']!r}: {item['msg']}" for item in error.errors()]
        return JSONResponse({"detail": printable("; ".join(problems))}, 422)

    @app.get("/health")
    async def health() -> dict[str, Any]:
        return {"status": "ready", "detector": vars(description)}

    @app.post("/detect", openapi_extra={"requestBody": BODY})
    async def detect(
        request: Request,
        min_score: Annotated[float, Query(ge=description.min_score, le=1)] = detector.min_score,
        masks: bool = False,
    ) -> JSONResponse:
        if masks and not description.has_masks:
            raise HTTPException(422, "masks: this detector has none")
        if slots.locked():
            raise HTTPException(503, f"{MAX_REQUESTS} requests are in progress", {"Retry-After": "1"})
        async with slots:
            start = time.perf_counter()
            image = await asyncio.to_thread(decode, await read_body(request))
            detections = await batcher.detect(image, min_score)
            objects = await asyncio.to_thread(to_objects, detections, min_score, masks)
        height, width = image.shape[:2]
        seconds = time.perf_counter() - start
        return JSONResponse({"width": width, "height": height, "seconds": seconds, "detections": objects})

    return app


def main() -> None:
    """Serve a detector until SIGTERM or Ctrl-C."""
    parser = argparse.ArgumentParser(description="Serve an exported detector over HTTP.")
    parser.add_argument("folder", help="folder that mvit-det export wrote")
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on (default: 127.0.0.1)")
    parser.add_argument("--port", type=int, default=8000, help="port to listen on (default: 8000)")
    parser.add_argument("--threads", type=int, help="threads of the model (default: one for each core)")
    parser.add_argument("--max-batch", type=int, default=1, help="images in a batch (default: 1)")
    arguments = parser.parse_args()
    with one_line_errors():
        detector = Detector(arguments.folder, num_threads=arguments.threads)
    uvicorn.run(
        create_app(detector, arguments.max_batch),
        host=arguments.host,
        port=arguments.port,
        timeout_graceful_shutdown=SHUTDOWN_SECONDS,
    )


if __name__ == "__main__":
    main()
