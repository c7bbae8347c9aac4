-- What did the people do whom a campaign brought?
--
-- One row per campaign with a visit in the range. `visitors` came by a visit of the range that names the campaign;
-- `downloaders` are those of them who downloaded at or after the first such visit, before the end of the range.
-- `response` is visitors by recipients. A visitor of two campaigns counts at both.
WITH
    visitors AS
    (
        SELECT gallery_id, campaign_id, visitor_id, count() AS visits, min(occurred_at) AS came_at
        FROM events FINAL
        WHERE gallery_id IN {galleries:Array(String)} AND type = 'gallery.visited' AND campaign_id != ''
          AND occurred_at >= {since:DateTime64(3, 'UTC')} AND occurred_at < {until:DateTime64(3, 'UTC')}
        GROUP BY gallery_id, campaign_id, visitor_id
    ),
    downloads AS
    (
        SELECT gallery_id, visitor_id, max(occurred_at) AS last_at
        FROM events FINAL
        WHERE gallery_id IN {galleries:Array(String)} AND type = 'photo.downloaded'
          AND occurred_at >= {since:DateTime64(3, 'UTC')} AND occurred_at < {until:DateTime64(3, 'UTC')}
        GROUP BY gallery_id, visitor_id
    ),
    followed AS
    (
        SELECT gallery_id, campaign_id, sum(visitors.visits) AS visits, count() AS visitors, countIf(last_at >= came_at) AS downloaders
        FROM visitors LEFT JOIN downloads ON visitors.gallery_id = downloads.gallery_id AND visitors.visitor_id = downloads.visitor_id
        GROUP BY gallery_id, campaign_id
    ),
    sent AS
    (
        SELECT gallery_id, campaign_id, max(latest) AS last
        FROM campaigns
        WHERE gallery_id IN {galleries:Array(String)}
        GROUP BY gallery_id, campaign_id
    )
SELECT followed.gallery_id AS gallery_id, followed.campaign_id AS campaign_id, sent.last.name AS name, sent.last.channel AS channel,
    if(sent.campaign_id = '', NULL, sent.last.time) AS sent_at, sent.last.recipients AS recipients, visits, visitors, downloaders,
    if(recipients = 0, NULL, visitors / recipients) AS response, downloaders / visitors AS conversion
FROM followed LEFT JOIN sent ON followed.gallery_id = sent.gallery_id AND followed.campaign_id = sent.campaign_id
ORDER BY visitors DESC, gallery_id, campaign_id;
