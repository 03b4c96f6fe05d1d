"""A reader who wants whole replies is woken once, when they are there, and of what goes wrong at once."""

from __future__ import annotations

import asyncio

import pytest
from endless import endless

import tiny
from pluralign.data.record import user
from pluralign.sampling.request import Request
from pluralign.serving.refusals import Closing, TimedOut
from pluralign.serving.settings import ServeSettings
from pluralign.serving.worker import Worker
from pluralign.steering.plural import PluralSteering

JOKE = user("tell me a joke")


def test_everything_comes_at_once() -> None:
    worker = Worker("tiny", tiny.policy(PluralSteering(), 0.1), ServeSettings())

    async def read(patient: bool) -> list[list[tuple[int, int]]]:
        requests = [Request(JOKE, seed=seed, max_new_tokens=length) for seed, length in ((1, 5), (2, 30), (3, 1))]
        async with worker.submit(requests) as job:
            job.patient = patient
            return [[(index, drawn.token) for index, drawn in news] async for news in job]

    try:
        once, step_by_step = asyncio.run(read(True)), asyncio.run(read(False))
    finally:
        worker.close(0.0)
    assert len(once) == 1 and len(step_by_step) > 3
    assert once[0] == [each for news in step_by_step for each in news]


@pytest.mark.parametrize("trouble", ["time", "end"])
def test_trouble_comes_at_once(trouble: str) -> None:
    worker = Worker("tiny", endless(), ServeSettings(timeout=0.3 if trouble == "time" else 60.0, max_tokens=50_000))

    async def read() -> None:
        async with worker.submit([Request(JOKE, max_new_tokens=50_000)]) as job:
            job.patient = True
            if trouble == "end":
                asyncio.get_running_loop().run_in_executor(None, worker.close, 0.2)
            async for _ in job:
                pass

    try:
        with pytest.raises(TimedOut if trouble == "time" else Closing):
            asyncio.run(asyncio.wait_for(read(), 20))
    finally:
        worker.close(0.0)
