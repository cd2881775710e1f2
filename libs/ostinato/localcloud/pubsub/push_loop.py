"""Pushes the messages of one subscription to its endpoint while it has one; of each ordering key one at a time."""

from __future__ import annotations

import asyncio
from datetime import datetime, timedelta

from ostinato.clock import Clock
from ostinato.errors import FailedPrecondition
from ostinato.localcloud.faults import FaultPlan
from ostinato.localcloud.pubsub.backlog import Delivery, Demand
from ostinato.localcloud.pubsub.clocked_waiting import Bell, first_of
from ostinato.localcloud.pubsub.live_subscription import LiveSubscription
from ostinato.localcloud.pubsub.push_pace import PushPace
from ostinato.localcloud.pubsub.push_request import PushRequest, push_request
from ostinato.localcloud.pubsub.push_sender import PushSender
from ostinato.localcloud.reused_tokens import ReusedTokens

# What the plan of faults calls a push.
PUSH = "push"


class PushLoop:
    def __init__(
        self,
        subscription: LiveSubscription,
        *,
        sender: PushSender,
        tokens: ReusedTokens,
        clock: Clock,
        faults: FaultPlan,
    ) -> None:
        self._subscription = subscription
        self._sender = sender
        self._tokens = tokens
        self._clock = clock
        self._faults = faults
        self._pace = PushPace()
        self._resumes: datetime | None = None
        self._under_way = 0
        self._number = 0
        self._ended = Bell()

    async def run(self) -> None:
        """For ever. Pushes that are under way end with it."""
        async with asyncio.TaskGroup() as pushes:
            while True:
                while not self._subscription.is_pushed:
                    await self._subscription.change()
                await self._wait_for_room()
                for delivery in await self._take():
                    self._under_way += 1
                    pushes.create_task(self._push(delivery))

    async def _take(self) -> list[Delivery]:
        """None if the subscription is pulled from now on."""
        try:
            return await self._subscription.take(self._demand, pushing=True)
        except FailedPrecondition:
            return []

    async def _wait_for_room(self) -> None:
        while self._under_way >= self._pace.window:
            await self._ended.wait()
        while self._resumes is not None and self._clock.now() < self._resumes:
            await self._clock.sleep((self._resumes - self._clock.now()).total_seconds())

    def _demand(self) -> Demand:
        """Each push holds its message alone."""
        self._number += 1
        return Demand(holder=f"push-{self._number}", lease=self._deadline(), messages=1)

    def _deadline(self) -> timedelta:
        return timedelta(seconds=self._subscription.config.ack_deadline_seconds)

    async def _push(self, delivery: Delivery) -> None:
        try:
            taken = await self._answer(delivery)
        finally:
            self._under_way -= 1
        self._settle(delivery, taken=taken)
        self._ended.ring()

    async def _answer(self, delivery: Delivery) -> bool:
        """False also if there is none within the ack deadline."""
        answers: list[bool] = []
        request, fate = self._request(delivery), self._faults.choose(PUSH)

        async def call() -> None:
            answers.append(await self._sender.send(request, fate))

        await first_of(call(), self._clock.sleep(self._deadline().total_seconds()))
        return answers == [True]

    def _request(self, delivery: Delivery) -> PushRequest:
        config = self._subscription.config
        return push_request(
            config.push_config,
            config.name,
            delivery,
            tell_attempt=self._subscription.counts_attempts,
            authorization=self._authorization(),
        )

    def _authorization(self) -> str:
        config = self._subscription.config.push_config
        if not config.HasField("oidc_token"):
            return ""
        email, audience = config.oidc_token.service_account_email, config.oidc_token.audience or config.push_endpoint
        return self._tokens.authorization(email, audience)

    def _settle(self, delivery: Delivery, *, taken: bool) -> None:
        if taken:
            self._subscription.acknowledge([delivery.ack_id])
            self._pace, self._resumes = self._pace.after_success(), None
        else:
            self._subscription.extend([delivery.ack_id], timedelta())
            self._pace = self._pace.after_failure()
            if not self._subscription.config.HasField("retry_policy"):
                self._resumes = self._clock.now() + self._pace.pause()
