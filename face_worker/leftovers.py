"""Embeddings that must not be there any more, found by what is stored, whoever wrote them and when.

Whoever takes a gallery's or a photo's faces away deletes them at once. A face worker that looked at a picture
at that moment may store what it found just after; and it may die before it deletes a selfie that found its
group. So each round looks for rows

- of selfies of visitors who were erased: all until then, and all after, unless they registered again;
- of selfies that were answered and do not look for their group (any more);
- of photos that were deleted;
- of pictures that were answered before the gallery was forgotten, and were not to be looked at again since.
"""

from __future__ import annotations

from collections import defaultdict
from typing import Final
from uuid import UUID

from clickhouse_connect.driver.client import Client

_LEFTOVERS: Final = """
WITH
erased AS
(
    SELECT gallery_id, visitor_id, max(erased_at) AS gone, tupleElement(max(latest), 'time') AS last
    FROM attendees
    WHERE (gallery_id, visitor_id) IN (SELECT gallery_id, visitor_id FROM faces WHERE selfie_id != '')
    GROUP BY gallery_id, visitor_id HAVING gone > toDateTime64(0, 3, 'UTC')
),
selfies AS
(
    SELECT gallery_id, step, selfies, causes FROM face_journal FINAL
    WHERE gallery_id IN (SELECT gallery_id FROM faces WHERE selfie_id != '')
),
words AS
(
    SELECT gallery_id, cause
    FROM (SELECT gallery_id, step, selfies, arrayJoin(mapKeys(selfies)) AS cause FROM selfies)
    GROUP BY gallery_id, cause HAVING argMax(selfies[cause], step)
),
forgotten AS
(
    SELECT gallery_id, max(step) AS gone FROM face_journal FINAL WHERE forgotten GROUP BY gallery_id
),
before AS
(
    SELECT gallery_id, cause, max(step) AS answered
    FROM
    (
        SELECT gallery_id, step, arrayJoin(arrayConcat(causes, reopened)) AS cause
        FROM face_journal FINAL WHERE gallery_id IN (SELECT gallery_id FROM forgotten)
    )
    GROUP BY gallery_id, cause
)
SELECT gallery_id, cause FROM
(
    SELECT faces.gallery_id AS gallery_id, faces.cause AS cause
    FROM (SELECT gallery_id, visitor_id, cause, stored_at FROM faces WHERE selfie_id != '') AS faces
    INNER JOIN erased ON faces.gallery_id = erased.gallery_id AND faces.visitor_id = erased.visitor_id
    WHERE erased.gone >= erased.last OR faces.stored_at <= erased.gone
    UNION DISTINCT
    SELECT gallery_id, cause FROM faces
    WHERE selfie_id != '' AND (gallery_id, cause) IN (SELECT gallery_id, arrayJoin(causes) FROM selfies)
      AND (gallery_id, cause) NOT IN words
    UNION DISTINCT
    SELECT gallery_id, cause FROM faces
    WHERE photo_id != ''
      AND (gallery_id, photo_id) IN (SELECT gallery_id, arrayJoin(deleted) FROM face_journal FINAL)
    UNION DISTINCT
    SELECT gallery_id, cause FROM faces
    WHERE (gallery_id, cause) IN
    (
        SELECT before.gallery_id, before.cause FROM before
        INNER JOIN forgotten ON before.gallery_id = forgotten.gallery_id
        WHERE before.answered <= forgotten.gone
    )
)
ORDER BY gallery_id, cause
"""


def leftovers(client: Client) -> dict[str, list[UUID]]:
    """Gallery → the triggers whose rows in `faces` must go. Raises what the client raises."""
    found: defaultdict[str, list[UUID]] = defaultdict(list)
    for gallery_id, cause in client.query(_LEFTOVERS).result_rows:
        found[gallery_id].append(cause)
    return found
