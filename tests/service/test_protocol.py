"""The protocol of the daemons as a model: every interleaving of steps, crashes and losses.

Two daemons move one job. A state says who holds the lease, which attempts have uploaded what,
which manifest stands, and how far each daemon is; a step changes one thing that lasts. What the
service does is the model's default; take a safeguard away and the model finds what breaks.

States that differ in nothing that can still matter are walked through once: the two daemons are
alike, and files of an attempt that is neither published nor anybody's are nothing.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, replace

import pytest

MOST_ATTEMPTS, MOST_TRIES = 3, 2


@dataclass(frozen=True, order=True)
class Host:
    """A daemon: its step, its attempt, and the recorded part of both on its disk."""

    does: str = "idle"
    attempt: int = 0
    lasting: str = "idle"
    tries: int = 0  # workers that failed in this attempt
    worker: str = ""  # "" | running | ended | failed


@dataclass(frozen=True)
class World:
    """The state that persists between steps."""

    lease: tuple[int, bool] = (-1, False)  # owner, valid
    attempts: int = 0
    files: frozenset[tuple[int, int, int]] = frozenset()  # location, part, attempt that wrote it
    manifest: int = 0
    published: int = 0
    view: str = ""  # "" | done | cancelled | failed
    is_cancelled: bool = False  # the cancel marker is under incoming/
    retries: int = 0  # retries that the operator may still request
    hosts: tuple[Host, Host] = (Host(), Host())


@dataclass(frozen=True)
class Rules:
    scoped: bool = True  # each attempt has a prefix of its own for its results
    conditional: bool = True  # the manifest is written only if there is none
    lease: bool = True
    durable: bool = True  # job.json survives a kill
    checks_manifest: bool = True  # an end without results is published only if there is no manifest


def steps(world: World, rules: Rules) -> Iterator[tuple[str, World]]:
    if world.lease[1]:
        yield "the lease runs out", replace(world, lease=(world.lease[0], False))
    if not world.is_cancelled and not world.view:
        yield "the user cancels", replace(world, is_cancelled=True)
    for number, host in enumerate(world.hosts):
        for name, after in host_steps(world, rules, number, host):
            yield f"{number}: {name}", after


def host_steps(world: World, rules: Rules, number: int, host: Host) -> Iterator[tuple[str, World]]:
    def to(after: Host, **changes: object) -> World:
        hosts = tuple(after if k == number else h for k, h in enumerate(world.hosts))
        return replace(world, hosts=hosts, **changes)

    def settled(does: str, **changes: object) -> Host:
        """The daemon after its step is recorded in job.json."""
        return replace(host, does=does, lasting=does, **changes)

    freed = (world.lease[0], False) if world.lease[0] == number else world.lease
    if host.does == "idle":
        is_free = not (rules.lease and world.lease[1])
        if not world.manifest and not world.view and is_free and world.attempts < MOST_ATTEMPTS:
            attempt = world.attempts + 1
            claimed = Host("staged", attempt, "staged")
            yield "takes it", to(claimed, attempts=attempt, lease=(number, True))
        if world.manifest and world.view != "done":
            yield "repairs the views", to(host, view="done")
        ended = world.view in ("failed", "cancelled")
        if ended and world.retries and not world.manifest and world.attempts < MOST_ATTEMPTS:
            again = Host("staged", world.attempts + 1, "staged")
            changes = {"attempts": world.attempts + 1, "retries": world.retries - 1}
            yield "tries again", to(again, view="", is_cancelled=False, **changes)
    elif host.does == "staged":
        if world.is_cancelled:
            yield "decides: cancelled", to(settled("cancelled"))
        else:
            yield "starts a worker", to(replace(settled("running"), worker="running"))
    elif host.does == "running":
        if world.is_cancelled:
            yield "decides: cancelled", to(settled("cancelled"))
        if host.worker == "ended":
            yield "collects", to(replace(host, does="uploading 1"))
        if host.worker == "failed":
            is_last = host.tries + 1 >= MOST_TRIES
            does = "failed" if is_last else "staged"
            yield "judges", to(settled(does, tries=host.tries + 1, worker=""))
    elif host.does.startswith("uploading"):
        part = int(host.does[-1])
        place = host.attempt if rules.scoped else 0
        kept = {f for f in world.files if (f[0], f[1]) != (place, part)}
        after = "committing" if part == 2 else "uploading 2"
        files = frozenset(kept | {(place, part, host.attempt)})
        yield f"uploads {part}", to(replace(host, does=after), files=files)
    elif host.does == "committing":
        if rules.conditional and world.manifest:
            yield "finds a manifest", to(settled("published"))
        else:
            changes = {"manifest": host.attempt, "published": world.published + 1}
            yield "publishes", to(settled("published"), **changes)
    elif host.does == "published":
        yield "writes the views", to(Host(), view="done", lease=freed)
    elif host.does in ("cancelled", "failed"):
        if rules.checks_manifest and world.manifest:
            yield "finds a manifest", to(settled("published"))
        else:
            yield f"tells: {host.does}", to(Host(), view=host.does, lease=freed)
    if host.worker == "running":
        for end in ("ended", "failed"):
            yield f"the worker {end}", to(replace(host, worker=end))
    if host != Host():
        if not rules.durable:
            yield "is killed and forgets", to(Host())
        elif host.does != host.lasting:
            yield "is killed", to(replace(host, does=host.lasting))
        yield "is lost", to(Host())


def reduced(world: World, rules: Rules) -> World:
    """The representative of all equivalent worlds."""
    of_use = {world.manifest, *(host.attempt for host in world.hosts)}
    files = frozenset(f for f in world.files if not rules.scoped or f[2] in of_use)
    world = replace(world, files=files)
    if not world.lease[1]:
        world = replace(world, lease=(-1, False))  # its former owner does not matter
    first, second = world.hosts
    if first <= second:
        return world
    owner, is_valid = world.lease
    return replace(world, hosts=(second, first), lease=(1 - owner if is_valid else -1, is_valid))


def explore(rules: Rules, retries: int = 1, is_broken: bool = False) -> tuple[int, set[str], int]:
    """Visit every state; returns their number, the violations and the number of dead ends.

    A protocol that is known to be broken is followed no further than to the first bad state.
    """
    first = World(retries=retries)
    seen, todo, bad = {first}, deque([first]), set()
    before: dict[World, list[World]] = {}
    while todo:
        world = todo.popleft()
        bad |= faults_of(world, rules)
        if bad and is_broken:
            break
        for _, unreduced in steps(world, rules):
            after = reduced(unreduced, rules)
            before.setdefault(after, []).append(world)
            if after not in seen:
                seen.add(after)
                todo.append(after)
    ends = [w for w in seen if w.view == "done" or (w.view and not w.manifest)]
    good, stack = set(ends), list(ends)
    while stack:
        for earlier in before.get(stack.pop(), ()):
            if earlier not in good:
                good.add(earlier)
                stack.append(earlier)
    # If all machines were lost as often as the model allows, a job has no attempt left.
    stuck = sum(w not in good and w.attempts < MOST_ATTEMPTS for w in seen)
    return len(seen), bad, stuck


def faults_of(world: World, rules: Rules) -> set[str]:
    found = set()
    place = world.manifest if rules.scoped else 0
    if world.manifest and not all((place, k, world.manifest) in world.files for k in (1, 2)):
        found.add("the manifest lists what another attempt wrote")
    if world.published > 1:
        found.add("published twice")
    if world.view == "done" and not world.manifest:
        found.add("done without a manifest")
    return found


@pytest.mark.parametrize(
    "rules",
    [Rules(), Rules(lease=False), Rules(durable=False), Rules(lease=False, durable=False)],
    ids=["service", "no lease", "forgetful", "no lease, forgetful"],
)
def test_no_interleaving_loses_or_duplicates_a_job(rules, record_property):
    states, bad, stuck = explore(rules)

    told = f"model of the protocol: {states} states, bad {len(bad)}, dead ends {stuck}"
    record_property("report", told)
    assert states > 10_000
    assert bad == set()
    assert stuck == 0


def test_without_a_prefix_of_its_own_an_attempt_overwrites_another():
    _, bad, _ = explore(Rules(scoped=False), is_broken=True)

    assert "the manifest lists what another attempt wrote" in bad


def test_without_a_condition_a_job_is_published_twice():
    assert "published twice" in explore(Rules(conditional=False), is_broken=True)[1]
