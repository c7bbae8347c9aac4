"""Faces and people of the gallery dashboard: who is in the photos, and who has opened theirs."""

from __future__ import annotations

from math import nextafter
from typing import Final

from grafana_foundation_sdk.models.dashboard import Panel

from grafana.fields import BAD, GOOD, QUIET, WARN, count_bar, fixed, only
from grafana.panels import bars, dial, grid, number
from grafana.queries import GALLERIES, GALLERY, PLAN, Query, Shared, ask

FACES: Final = 401
MATCH_STEPS: Final = ((None, BAD), (nextafter(0.5, 1), GOOD))
"""The target is above 50 %: half of the people is not enough."""


def people() -> list[Panel]:
    """Who is in the photos, who has found them and who has not."""
    return [
        number(
            FACES,
            "Faces",
            "Faces found in the photos of the range; the different people among them; those who have opened "
            "their photos before the end of the range, and those who have not; of the latter, those whom a "
            "selfie has found already; and in how many photos a person is on average.",
            Query(
                f"""SELECT faces AS "Faces detected", face_groups AS "People",
                    matched_groups AS "Opened their photos", unmatched_groups AS "Have not",
                    found_not_opened AS "Found, not opened", photos_per_person AS "Photos per person",
                    match_rate AS "Match rate", uploaded_organizer AS "Organizer", contributed AS "Community"
                FROM {ask("kpis")}""",
            ),
            width=8,
            height=8,
            names=True,
            transformations=[
                only(
                    "Faces detected",
                    "People",
                    "Opened their photos",
                    "Have not",
                    "Found, not opened",
                    "Photos per person",
                )
            ],
            overrides={"Photos per person": {"decimals": 1, "unit": "none", "noValue": "-"}},
        ),
        dial(
            402,
            "Match rate",
            "People who have opened their photos before the end of the range / people in the photos of the "
            "range. Target: 50 %. If it is low, announce the gallery on stage and by message, and show the "
            "QR code.",
            Shared(FACES),
            width=4,
            height=8,
            decimals=1,
            steps=MATCH_STEPS,
            transformations=[only("Match rate")],
            empty="No people yet",
        ),
        grid(
            403,
            "Top people",
            "The people in most photos of the range. A name is shown if the person's latest selfie came "
            "from somebody who registered and agreed to it.",
            Query(
                f"""SELECT row_number() OVER (ORDER BY photos DESC, asked.gallery_id, group_id) AS Rank,
                    if(asked.name = '', concat('Person ', group_id), asked.name) AS Name,
                    {GALLERY} AS Gallery, photos AS Photos
                FROM (SELECT * FROM {ask("top_people")} LIMIT 50) AS asked {PLAN} ORDER BY Rank""",
            ),
            width=12,
            height=8,
            empty="No people yet",
            overrides={"Rank": {"custom.width": 60}, "Photos": count_bar()},
        ),
        bars(
            404,
            "Selfies that found nobody",
            "Attempts of the range to find the person of a selfie that found nobody, by reason; also of "
            "those that found somebody later. Many of one kind: say on the page what a good selfie is.",
            Query(
                f"""SELECT transform(reason,
                        ['no_face', 'many_faces', 'low_quality', 'ambiguous', 'no_match'],
                        ['No face in it', 'Several faces in it', 'Too dark or blurred',
                        'Two people look alike', 'Not in any photo'], reason) AS Reason, selfies AS Selfies
                FROM {ask("failed_selfies")} ORDER BY selfies DESC, reason""",
            ),
            label="Reason",
            width=12,
            height=8,
            color=QUIET,
            overrides={"Selfies": fixed(WARN)},
            empty="Every selfie found somebody, or there was none",
        ),
        grid(
            405,
            "Found, but photos not opened",
            "People whom a selfie has found and who have not opened their photos before the end of the "
            "range. A reminder brings them back.",
            Query(
                f"""SELECT if(names.name = '', concat('Person ', group_id), names.name) AS Name,
                    {GALLERY} AS Gallery, photos AS Photos
                FROM (SELECT * FROM {ask("people")} WHERE found AND NOT matched
                    ORDER BY photos DESC, gallery_id, group_id LIMIT 50) AS asked
                LEFT JOIN attendee_names(galleries = {GALLERIES}) AS names
                    ON asked.gallery_id = names.gallery_id AND asked.visitor_id = names.visitor_id
                {PLAN} ORDER BY photos DESC, asked.gallery_id, group_id""",
            ),
            width=12,
            height=8,
            empty="Everybody who was found has opened their photos",
            overrides={"Photos": count_bar()},
        ),
    ]
