"""The columns of every metric view, in their order: what dashboards and analysts rely on."""

from __future__ import annotations

from typing import Final

COLUMNS: Final[dict[str, tuple[str, ...]]] = {
    name: tuple(columns.split())
    for name, columns in {
        "kpis": "uploaded uploaded_organizer contributed bytes bytes_organizer bytes_community highlighted "
        "faces face_groups matched_groups unmatched_groups found_not_opened match_rate photos_per_person "
        "downloads shares",
        "shares_by_network": "network shares",
        "top_people": "gallery_id group_id name photos",
        "funnel": "step name count ratio",
        "visitor_funnel": "step name visitors conversion steepest advice",
        "failed_selfies": "reason selfies",
        "downloads_by_time": "gallery_id time downloads",
        "downloads_by_phase": "position phase downloads",
        "recent_access": "time event_id gallery_id visitor_id name group_id photos",
        "recent_contributions": "gallery_id visitor_id name time photos",
        "channels": "position channel visits visitors first_visitors last_visitors downloaders conversion",
        "sponsor_results": "sponsor_id name impressions viewable clicks ctr viewers fee currency "
        "cost_per_click cost_per_1000_viewable",
        "sponsor_ads": "sponsor_id ad_id impressions clicks ctr",
        "targets": "position metric value target status advice",
        "campaign_effects": "gallery_id campaign_id name channel sent_at recipients visits_before "
        "visits_after downloads_before downloads_after shares_before shares_after",
        "daily_check": "check reason value",
    }.items()
}
