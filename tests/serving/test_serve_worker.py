"""A worker's thread: the replies of the engine, turns, refusals, ends and failures."""

from __future__ import annotations

import asyncio
import dataclasses
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager

import pytest
import torch
from endless import endless

import tiny
from pluralign.data.condition import Weights
from pluralign.data.record import user
from pluralign.errors import ConditionError, ConfigError, ModelError
from pluralign.policy import Policy
from pluralign.sampling.engine import Engine
from pluralign.sampling.request import Request
from pluralign.serving.refusals import Closing, EngineFailed, Overloaded, TimedOut
from pluralign.serving.settings import ServeSettings
from pluralign.serving.watch import Watch
from pluralign.serving.worker import Worker
from pluralign.steering.mixture import MixtureSteering
from pluralign.steering.plural import PluralSteering

LONG = Request(user("tell me a joke"), max_new_tokens=20_000)


@contextmanager
def working(policy: Policy, **settings: object) -> Iterator[Worker]:
    worker = Worker("tiny", policy, ServeSettings(**settings))  # type: ignore[arg-type]
    try:
        yield worker
    finally:
        worker.close(0.0)
        assert not worker._thread.is_alive()


async def reply(worker: Worker, request: Request, owner: str = "") -> tuple[int, ...]:
    async with worker.submit([request], owner) as job:
        return tuple([drawn.token async for news in job for _, drawn in news])


async def until(true: Callable[[], bool]) -> None:
    ends = time.monotonic() + 10
    while not true():
        assert time.monotonic() < ends, "it did not come true"
        await asyncio.sleep(0.005)


def run(work: Awaitable[None]) -> None:
    async def limited() -> None:
        await asyncio.wait_for(work, 30)

    asyncio.run(limited())


REQUESTS = [
    Request(user("tell me a joke"), Weights({"kind": n / 12, "brief": 1 - n / 12}), seed=n, max_new_tokens=6)
    for n in range(12)
]


@pytest.mark.parametrize("steering", [PluralSteering(), MixtureSteering()], ids=lambda each: each.kind)
def test_replies_are_those_of_the_engine(steering: object) -> None:
    policy = tiny.policy(steering, 0.1)
    asked = [Request(r.messages, r.condition, r.seed, max_new_tokens=6) for r in REQUESTS]

    async def work() -> None:
        found = await asyncio.gather(*(reply(worker, request) for request in asked))
        assert found == [completion.ids for completion in Engine(policy).generate(asked)]

    with working(policy, rows=7, queue=100) as worker:
        run(work())
        assert (worker.running, worker.waiting, worker.busy_rows) == (0, 0, 0)


def test_several_replies_to_one_request_and_its_prompt() -> None:
    policy = tiny.policy(PluralSteering(), 0.1)

    async def work() -> None:
        found: list[list[int]] = [[] for _ in REQUESTS]
        async with worker.submit(REQUESTS) as job:
            assert set(job.prompt_ids) == {policy.encoder.prompt(user("tell me a joke")).ids}
            async for news in job:
                for index, drawn in news:
                    found[index].append(drawn.token)
        assert [tuple(ids) for ids in found] == [each.ids for each in Engine(policy).generate(REQUESTS)]

    with working(policy, rows=5, queue=7) as worker:
        run(work())


def test_what_cannot_be_answered_is_refused_at_once() -> None:
    policy = tiny.policy(PluralSteering(), 0.1)
    asked = REQUESTS[0]

    async def work() -> None:
        with pytest.raises(ConditionError, match="unknown"):
            worker.submit([Request(asked.messages, Weights({"wise": 1.0}))])
        with pytest.raises(ModelError, match="shorten the prompt"):
            worker.submit([Request(asked.messages, max_new_tokens=1000)])
        with pytest.raises(ConfigError, match="fewer replies"):
            worker.submit([asked] * 7)
        with pytest.raises(ModelError, match="cache of 10 tokens"):
            worker.submit([dataclasses.replace(asked, max_new_tokens=7)])

    with working(policy, rows=2, queue=4, cache_tokens=10) as worker:
        run(work())


def test_a_full_line_refuses_and_says_when_to_come_again() -> None:
    async def work() -> None:
        jobs = [worker.submit([LONG]) for _ in range(5)]
        await until(lambda: worker.running == 2)
        assert worker.waiting == 3
        with pytest.raises(Overloaded, match="come again") as refused:
            worker.submit([LONG])
        assert refused.value.retry_after is not None
        assert 1 <= refused.value.retry_after <= 60
        jobs[4].cancel()  # who waited and leaves makes room
        jobs.append(worker.submit([LONG]))
        for job in jobs:
            job.cancel()
        await until(lambda: worker.busy_rows == 0)

    with working(endless(), rows=2, queue=3) as worker:
        run(work())


def test_a_newcomer_finds_room_and_its_turn() -> None:
    async def work() -> None:
        greedy = [worker.submit([LONG], "greedy")]
        await until(lambda: worker.running == 1)
        worker.submit([REQUESTS[0]], "modest").cancel()  # two owners are about
        with pytest.raises(Overloaded):
            greedy.extend(worker.submit([LONG], "greedy") for _ in range(20))
        assert len(greedy) == 1 + 4  # one runs; half of the line
        modest = worker.submit([LONG], "modest")
        greedy[0].cancel()
        await until(lambda: greedy[1].places[0].ticket is not None)
        greedy[1].cancel()
        await until(lambda: modest.places[0].ticket is not None)
        assert greedy[2].places[0].ticket is None
        for job in (*greedy, modest):
            job.cancel()

    with working(endless(), rows=1, queue=8) as worker:
        run(work())


def test_who_leaves_frees_the_rows_within_a_step_or_two() -> None:
    class Steps(Watch):
        count = 0

        def stepped(self, worker: str, seconds: float, rows: int) -> None:
            self.count += 1

    async def work() -> None:
        task = asyncio.create_task(reply(worker, LONG))
        other = worker.submit([LONG])
        await until(lambda: steps.count > 5 and worker.running == 2)
        began = steps.count
        task.cancel()
        await until(lambda: worker.running == 1)
        assert steps.count - began <= 3
        with pytest.raises(asyncio.CancelledError):
            await task
        other.stop(0)
        await until(lambda: worker.busy_rows == 0)
        assert [news async for news in other] == []

    with working(endless(), rows=4) as worker:
        steps = Steps()
        worker.watches.append(steps)
        run(work())


def test_memory_of_the_cache_bounds_who_runs() -> None:
    """Prompts of 4 tokens and replies of 6: 10 tokens each, so that 25 tokens hold two of them."""
    seen: list[int] = []

    class Rows(Watch):
        def stepped(self, worker: str, seconds: float, rows: int) -> None:
            seen.append(rows)

    async def work() -> None:
        found = await asyncio.gather(*(reply(worker, request) for request in REQUESTS))
        assert found == [each.ids for each in Engine(policy).generate(REQUESTS)]

    policy = tiny.policy(PluralSteering(), 0.1)
    with working(policy, rows=8, cache_tokens=25) as worker:
        worker.watches.append(Rows())
        run(work())
    assert max(seen) == 2


def test_a_broken_decoder_is_told_to_everybody() -> None:
    policy = endless()

    async def work() -> None:
        waiting = [asyncio.create_task(reply(worker, LONG)) for _ in range(4)]
        await until(lambda: worker.running == 2)
        policy.model.get_decoder().layers[0].self_attn.q_proj = torch.nn.Linear(32, 5)  # shapes no longer fit
        for task in waiting:
            with pytest.raises(EngineFailed, match="the decoder of tiny broke"):
                await task
        with pytest.raises(EngineFailed):
            worker.submit([LONG])
        assert "broke" in str(worker.trouble())

    with working(policy, rows=2) as worker:
        run(work())


class Slow(torch.nn.Module):
    """Takes its time."""

    def forward(self, states: torch.Tensor) -> torch.Tensor:
        time.sleep(1.0)
        return states


def test_a_step_that_hangs_is_seen() -> None:
    policy = endless()
    policy.model.get_decoder().norm = Slow()

    async def work() -> None:
        with pytest.raises(TimedOut):
            await reply(worker, LONG)
        await until(lambda: "a step of the decoder has taken more than 0.2 seconds" in str(worker.trouble()))
        await until(lambda: worker.trouble() is None)

    with working(policy, rows=2, timeout=0.2) as worker:
        run(work())


def test_numbers_that_are_not_finite_end_the_reply() -> None:
    policy = tiny.policy(PluralSteering(), 0.1)
    with torch.no_grad():
        policy.model.get_output_embeddings().base.weight[3, 0] = torch.nan

    async def work() -> None:
        with pytest.raises(EngineFailed, match="not finite"):
            await reply(worker, REQUESTS[0])
        assert worker.busy_rows == 0

    with working(policy, rows=2) as worker:
        run(work())


def test_a_request_has_its_time() -> None:
    async def work() -> None:
        with pytest.raises(TimedOut, match=r"more than 0\.3 seconds"):
            await reply(worker, LONG)
        await until(lambda: worker.busy_rows == 0)

    with working(endless(), rows=2, timeout=0.3) as worker:
        run(work())


def test_the_end_waits_for_those_inside_as_long_as_it_may() -> None:
    short = dataclasses.replace(LONG, max_new_tokens=40)

    async def work() -> None:
        one = asyncio.create_task(reply(worker, short))
        await until(lambda: worker.running == 1)
        ending = asyncio.create_task(asyncio.to_thread(worker.close, 20.0))
        await until(lambda: worker.trouble() == "shutting down")
        with pytest.raises(Closing):
            worker.submit([short])
        assert len(await one) == 40
        await ending

    with working(endless(), rows=2) as worker:
        run(work())


def test_who_is_still_inside_at_the_end_is_told() -> None:
    async def work() -> None:
        tasks = [asyncio.create_task(reply(worker, LONG)) for _ in range(3)]
        await until(lambda: worker.running == 2)
        await asyncio.to_thread(worker.close, 0.1)
        for task in tasks:
            with pytest.raises(Closing, match="before the reply was complete"):
                await task

    with working(endless(), rows=2) as worker:
        run(work())
