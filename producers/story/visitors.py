"""The actors who come to see the photos, and how the organizer invites them."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal

from producers.story.pictures import PEAKS, burst, crowd, curator, photographer, recluster, upload
from producers.story.scenery import (
    ARRIVAL_WEIGHTS,
    ARRIVALS,
    FIRST_NAMES,
    LAST_NAMES,
    NETWORK_WEIGHTS,
    NETWORKS,
    POOR_SELFIE_WEIGHTS,
    POOR_SELFIES,
)
from producers.story.stage import (
    DAY,
    HOUR,
    MINUTE,
    SECOND,
    Actor,
    Campaign,
    Photo,
    Stage,
    Step,
    Visitor,
    booked,
    instant,
    part,
)
from schemas.events import (
    AttendeeErased,
    AttendeeRegistered,
    CampaignSent,
    GalleryScheduled,
    GalleryVisited,
    MatchFound,
    MatchMissed,
    PhotoDownloaded,
    PhotoShared,
    PhotosRetrieved,
    SelfieTaken,
    SponsorClicked,
    SponsorImpression,
    SponsorRegistered,
)

Who = dict[str, str]


def begin(stage: Stage) -> None:
    """Put everybody who has a part in the gallery's life on the agenda; the announcement is first."""
    stage.enter(announce(stage))
    stage.enter(sponsor_contracts(stage), 2 * DAY)
    stage.enter(invite(stage), 3 * DAY)
    stage.enter(burst(stage, 6 + stage.attendees // 50, empty=True), 9 * DAY)
    stage.enter(curator(stage))
    stage.enter(recluster(stage))
    team = min(12, 1 + stage.attendees // 130)
    shots = max(1, round(stage.attendees * (1.6 + 2.2 * len(stage.opens)) / len(stage.opens) / team))
    for _ in range(team):
        stage.enter(photographer(stage, shots))
    registered = part(stage.rng, stage.visitors, 0.93)
    for visitor in registered:
        stage.enter(register(stage, visitor))
    for visitor in part(stage.rng, registered, 0.02):
        stage.enter(erase(visitor), stage.ends - stage.now + stage.between(HOUR, 8 * DAY))
    for visitor in stage.visitors:
        if visitor.comes:
            stage.enter(attend(stage, visitor))


def announce(stage: Stage) -> Actor:
    """The gallery is scheduled; some are moved by a day later on."""
    fields = {
        "name": stage.name,
        "organizer_id": f"org-{stage.occasion.slug}",
        "organizer": stage.occasion.organizer,
        "timezone": stage.occasion.zone,
    }
    moved = DAY if stage.rescheduled else 0
    for delay, shift in ((0, moved), (8 * DAY, 0))[: 2 if moved else 1]:
        times = {"starts_at": instant(stage.starts + shift), "ends_at": instant(stage.ends + shift)}
        yield Step(delay, GalleryScheduled, {**fields, **times})


def sponsor_contracts(stage: Stage) -> Actor:
    """Sponsors sign; the first of them pays more after a second talk."""
    signed = [(*sponsor, 1.0) for sponsor in stage.sponsors] + [(*stage.sponsors[0], 1.25)]
    for sponsor_id, name, fee, factor in signed:
        yield Step(
            stage.between(1 * HOUR, 2 * DAY),
            SponsorRegistered,
            {
                "sponsor_id": sponsor_id,
                "name": name,
                "fee": Decimal(round(fee * factor)),
                "currency": stage.occasion.currency,
            },
        )
        if factor == 1.0:
            stage.ads += booked(stage.rng, sponsor_id, fee)


def invite(stage: Stage) -> Actor:
    """Campaigns go out at their times."""
    for campaign in sorted(stage.campaigns, key=lambda campaign: campaign.at):
        yield stage.until(campaign.at)
        yield Step(
            0,
            CampaignSent,
            {
                "campaign_id": campaign.campaign_id,
                "name": campaign.name,
                "channel": campaign.channel,
                "recipients": stage.between(stage.attendees * 85 // 100, stage.attendees),
            },
        )


def register(stage: Stage, visitor: Visitor) -> Actor:
    """A visitor gives a name, most before the event, the others at the door."""
    early = stage.rng.random() < 0.8
    low, high = (stage.announced + DAY, stage.starts) if early else (stage.starts, stage.starts + 5 * HOUR)
    yield stage.until(stage.between(low, high))
    fields = {
        "visitor_id": visitor.visitor_id,
        "display_name": f"{stage.rng.choice(FIRST_NAMES)} {stage.rng.choice(LAST_NAMES)}",
        "consent": stage.rng.random() < 0.88,
    }
    yield Step(0, AttendeeRegistered, fields)


def erase(visitor: Visitor) -> Actor:
    """A visitor takes the name back."""
    yield Step(0, AttendeeErased, {"visitor_id": visitor.visitor_id})


def attend(stage: Stage, visitor: Visitor) -> Actor:
    """Every visit of one visitor, from the announcement to the weeks after."""
    for at, campaign in _diary(stage):
        yield stage.until(at)
        yield from visit(stage, visitor, campaign)


def _diary(stage: Stage) -> list[tuple[int, Campaign | None]]:
    """When a visitor comes, and for which campaign."""
    rng = stage.rng
    visits: list[tuple[int, Campaign | None]] = [
        (campaign.at + MINUTE + round(rng.expovariate(1 / (campaign.hours * HOUR))), campaign)
        for campaign in stage.campaigns
        if rng.random() < campaign.pull
    ]
    for opens, closes in zip(stage.opens, stage.closes, strict=True):
        if rng.random() < 0.5:
            share = min(1.0, abs(rng.gauss(rng.choice(PEAKS), 0.06)))
            visits.append((opens + round(share * (closes - opens)), None))
    for chance, low, high in _free_hours(stage):
        if rng.random() < chance:
            visits.append((round(rng.triangular(low, high, low + 0.7 * (high - low))), None))
    if not visits:
        visits.append((stage.between(stage.starts, stage.ends), None))
    return sorted(visits, key=lambda one: one[0])


def _free_hours(stage: Stage) -> list[tuple[float, int, int]]:
    """When people look at the gallery without being asked: with what chance, from, to."""
    hours = [(0.12, stage.announced + DAY, stage.starts), (0.3, stage.ends, stage.midnight)]
    hours += [(0.3, closes + 30 * MINUTE, closes + 4 * HOUR) for closes in stage.closes[:-1]]
    for day in range(7):
        morning = stage.midnight + day * DAY + 7 * HOUR
        hours.append((0.42 * 0.78**day, morning, morning + 16 * HOUR))
    week_later = stage.midnight + 7 * DAY
    return [*hours, (0.09, week_later, week_later + 6 * DAY)]


def visit(stage: Stage, visitor: Visitor, campaign: Campaign | None = None, *, search: bool = False) -> Actor:
    """One session. `search` makes the visitor look for their photos, whatever they found before."""
    rng = stage.rng
    who = {"visitor_id": visitor.visitor_id, "session_id": stage.new_id("s")}
    yield Step(stage.between(0, 20 * SECOND), GalleryVisited, {**who, **_arrival(stage, visitor, campaign)})
    yield from look(stage, who, stage.between(3, 7))
    if visitor.contributes and stage.starts <= stage.now < stage.ends + 3 * DAY and rng.random() < 0.5:
        yield from contribute(stage, visitor, who)
    if search or (visitor.seeks and not visitor.matched and stage.latest_upload and rng.random() < 0.8):
        yield from look_for_oneself(stage, visitor, who)
    if visitor.matched and visitor.opens:
        if not visitor.opened or rng.random() < 0.8:
            yield from open_photos(stage, visitor, who)
    elif stage.highlights and rng.random() < (0.09 if stage.now > stage.starts else 0.25):
        yield from save(stage, who, stage.highlights, 1)
        if rng.random() < 0.35:
            yield from share(stage, who, stage.highlights, 1)


def _arrival(stage: Stage, visitor: Visitor, campaign: Campaign | None) -> dict[str, str]:
    if campaign:
        return {
            "channel": campaign.channel,
            "utm_source": "newsletter" if campaign.channel == "email" else campaign.channel,
            "utm_medium": campaign.channel,
            "campaign_id": campaign.campaign_id,
        }
    usual = stage.rng.random() < 0.6
    pick = visitor.arrival / (1 << 30) if usual else stage.rng.random()
    place = pick * ARRIVAL_WEIGHTS[-1]
    index = next(index for index, weight in enumerate(ARRIVAL_WEIGHTS) if place < weight)
    channel, referrer, source = ARRIVALS[index]
    fields: dict[str, str] = {"channel": channel}
    if referrer:
        fields["referrer"] = referrer.format(slug=stage.occasion.slug)
    if source:
        fields |= {"utm_source": source, "utm_medium": "referral"}
    return fields


def look(stage: Stage, who: Who, pages: int) -> Actor:
    """Some pages, with an ad on each once there are sponsors; a few are clicked."""
    rng = stage.rng
    for _ in range(pages if stage.ads else 0):
        ad = rng.choice(stage.ads)
        well = rng.random() < ad.shown_well
        long = rng.random() < 0.87
        place = {"sponsor_id": ad.sponsor_id, "ad_id": ad.ad_id, "placement": ad.placement}
        shown = {
            "visible_ms": 1000 + round(rng.expovariate(1 / 4200)) if long else stage.between(80, 999),
            "visible_ratio": round(rng.uniform(0.5, 1) if well else rng.uniform(0.02, 0.49), 2),
        }
        yield Step(stage.between(3 * SECOND, 45 * SECOND), SponsorImpression, {**who, **place, **shown})
        if well and long and rng.random() < ad.appeal:
            yield Step(stage.between(SECOND, 6 * SECOND), SponsorClicked, {**who, **place})


def contribute(stage: Stage, visitor: Visitor, who: Who) -> Actor:
    """A visitor adds photos of their own, themselves in many of them."""
    for _ in range(min(9, 1 + int(stage.rng.expovariate(1 / 2.6)))):
        themselves = (visitor.person,) if visitor.person and stage.rng.random() < 0.5 else ()
        people = crowd(stage, *themselves)[:4]
        yield from upload(stage, people, stage.between(2 * SECOND, 15 * SECOND), team=False, who=who)


def look_for_oneself(stage: Stage, visitor: Visitor, who: Who) -> Actor:
    """Selfies until one is matched, none can be, or patience ends."""
    rng = stage.rng
    for _ in range(3):
        if visitor.patience <= 0:
            return
        selfie_id = stage.new_id("sf")
        selfie = {**who, "selfie_id": selfie_id}
        uri = f"sim://{stage.gallery_id}/{selfie_id}"
        taken = Step(stage.between(6 * SECOND, 40 * SECOND), SelfieTaken, {**selfie, "uri": uri})
        yield taken
        person = visitor.person
        group_id = person.found_as if person else ""
        delay = stage.between(700, 3500)
        if rng.random() < 0.22:
            reason = rng.choices(POOR_SELFIES, cum_weights=POOR_SELFIE_WEIGHTS)[0]
        elif group_id and person:
            found = {
                "group_id": group_id,
                "score": round(min(0.45, max(0.12, rng.gauss(0.31, 0.06))), 4),
                "photos": max(1, person.seen),
            }
            yield taken.derive(delay, MatchFound, selfie_id, {**selfie, **found})
            visitor.matched = True
            return
        else:
            reason = "no_match"
            visitor.patience -= 1
        yield taken.derive(delay, MatchMissed, selfie_id, {**selfie, "reason": reason})
        if reason == "no_match" or rng.random() > 0.9:
            return


def open_photos(stage: Stage, visitor: Visitor, who: Who) -> Actor:
    """The photos of one's own group: retrieved, and by some downloaded and shared."""
    rng = stage.rng
    person = visitor.person
    if person is None or not person.found_as:
        return
    first, visitor.opened = not visitor.opened, True
    photos = max(1, person.seen)
    fields = {**who, "group_id": person.found_as, "photos": photos}
    yield Step(stage.between(2 * SECOND, 20 * SECOND), PhotosRetrieved, fields)
    yield from look(stage, who, stage.between(2, 6))
    eager = first or stage.ends <= stage.now < stage.midnight
    if visitor.saves and rng.random() < (0.95 if eager else 0.55):
        if photos > 3 and rng.random() < 0.25:
            size = stage.between(3, min(photos, 40))
            yield Step(stage.between(5 * SECOND, 40 * SECOND), PhotoDownloaded, {**who, "photos": size})
        else:
            yield from save(stage, who, person.photos, stage.between(2, 9 if eager else 4))
    if visitor.shares and rng.random() < 0.85:
        yield from share(stage, who, person.photos, stage.between(1, 4))


def save(stage: Stage, who: Who, photos: Sequence[Photo], most: int) -> Actor:
    """Download up to `most` of the photos, one by one."""
    there = [photo for photo in photos if not photo.deleted]
    for photo in stage.rng.sample(there, min(most, len(there))):
        yield Step(
            stage.between(3 * SECOND, 25 * SECOND), PhotoDownloaded, {**who, "photo_id": photo.photo_id}
        )


def share(stage: Stage, who: Who, photos: Sequence[Photo], most: int) -> Actor:
    """Share up to `most` of the photos."""
    there = [photo for photo in photos if not photo.deleted]
    for photo in stage.rng.sample(there, min(most, len(there))):
        network = stage.rng.choices(NETWORKS, cum_weights=NETWORK_WEIGHTS)[0]
        yield Step(
            stage.between(5 * SECOND, 60 * SECOND),
            PhotoShared,
            {**who, "photo_id": photo.photo_id, "network": network},
        )
