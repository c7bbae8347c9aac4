"""Campaigns as annotations of Grafana itself, for dashboards that are not ours.

Our own dashboards mark campaigns by a query. These marks belong to the whole organization, so that any
dashboard of that Grafana (web servers, sales) can show them by their tag; or to one dashboard.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from hashlib import blake2b
from html import escape
from typing import Any, Final

from grafana.publish import Step
from grafana.queries import GALLERY, PLAN, ask
from grafana.remote import Grafana
from grafana.snapshot import Span, rows
from grafana.snapshot import ask as query
from schemas.errors import GrafanaError

TAG: Final = "gallery-campaign"
MOST: Final = 10_000
"""Annotations that are read at once."""

EVER: Final = Span(datetime(2000, 1, 1, tzinfo=UTC), datetime(2099, 1, 1, tzinfo=UTC))
_ALL: Final = "(SELECT groupUniqArray(toString(gallery_id)) FROM campaigns)"
SENT: Final = f"""SELECT toUnixTimestamp64Milli(sent_at) AS time, toString(asked.gallery_id) AS gallery_id,
    campaign_id, asked.name AS name, channel, recipients, {GALLERY} AS gallery
FROM {ask("campaigns_sent", galleries=_ALL)} AS asked
{PLAN} ORDER BY time, gallery_id, campaign_id"""


@dataclass(frozen=True)
class Campaign:
    """The latest campaign.sent of a campaign."""

    gallery_id: str
    campaign_id: str
    sent_at: datetime
    text: str

    @property
    def key(self) -> str:
        """The tag by which it is found again: tags are short, ids need not be."""
        identity = f"{len(self.gallery_id)}:{self.gallery_id}{self.campaign_id}"
        return f"campaign-{blake2b(identity.encode(), digest_size=8).hexdigest()}"

    def body(self) -> dict[str, Any]:
        """As Grafana stores it. Its texts are HTML."""
        at = round(self.sent_at.timestamp() * 1000)
        return {"time": at, "timeEnd": at, "text": escape(self.text), "tags": [TAG, self.key]}


def sent(grafana: Grafana, galleries: Iterable[str] = (), span: Span = EVER) -> list[Campaign]:
    """The campaigns of these galleries (of all, when none is named) that were sent in `span`."""
    wanted = set(galleries)
    answer = query(grafana, [{"refId": "A", "rawSql": " ".join(SENT.split())}], EVER, 60, "campaigns")["A"]
    found = [
        Campaign(
            row["gallery_id"],
            row["campaign_id"],
            datetime(1970, 1, 1, tzinfo=UTC) + timedelta(milliseconds=row["time"]),
            f"{row['name']} to {row['recipients']} by {row['channel']} ({row['gallery']})",
        )
        for row in rows(answer)
    ]
    if unknown := sorted(wanted - {one.gallery_id for one in found}):
        raise GrafanaError(f"no campaign was sent for {', '.join(unknown)}")
    return [
        one
        for one in found
        if (not wanted or one.gallery_id in wanted) and span.since <= one.sent_at < span.until
    ]


def annotate(
    grafana: Grafana, campaigns: Iterable[Campaign], *, dashboard: str | None = None, dry_run: bool = False
) -> list[Step]:
    """Mark every campaign once; a mark whose campaign was sent anew moves. Returns what was done."""
    present = _present(grafana, dashboard)
    steps = []
    for campaign in campaigns:
        body = campaign.body()
        found = present.get(campaign.key)
        same = found is not None and all(_plain(found, name) == _plain(body, name) for name in body)
        if not dry_run and not same:
            _write(grafana, body, found, dashboard)
        done = "unchanged" if same else "created" if found is None else "updated"
        steps.append(Step("annotation", f"{campaign.sent_at:%Y-%m-%d %H:%M} {campaign.text}", done))
    return steps


def _write(
    grafana: Grafana, body: dict[str, Any], found: Mapping[str, Any] | None, dashboard: str | None
) -> None:
    if found is not None:
        grafana.change(lambda face: face.api.PUT(f"/annotations/{found['id']}", json=body))
        return
    place = {"dashboardUID": dashboard} if dashboard else {}
    grafana.change(lambda face: face.api.POST("/annotations", json={**body, **place}))


def _present(grafana: Grafana, dashboard: str | None) -> dict[str, dict[str, Any]]:
    """Key → our marks on this dashboard, or of the whole organization."""
    found = grafana.get(f"/annotations?type=annotation&tags={TAG}&limit={MOST}")
    if len(found) >= MOST:
        raise GrafanaError(f"{grafana.url} has {MOST} marks of campaigns or more: delete old ones first")
    return {
        tag: one
        for one in found
        if (one.get("dashboardUID") or None) == dashboard
        for tag in one.get("tags") or []
        if tag != TAG
    }


def _plain(mark: Mapping[str, Any], name: str) -> Any:
    return sorted(mark.get(name) or []) if name == "tags" else mark.get(name)
