-- Which places on the page work for ads?
--
-- One row per placement, over all sponsors. Viewable: half of the ad or more for a second or more. CTR is clicks by
-- impressions, `viewable_ctr` clicks by viewable impressions.
SELECT placement, uniqExact(sponsor_id, ad_id) AS ads, countIf(type = 'sponsor.impression') AS impressions,
    countIf(type = 'sponsor.impression' AND visible_ratio >= 0.5 AND visible_ms >= 1000) AS viewable,
    countIf(type = 'sponsor.clicked') AS clicks,
    if(impressions = 0, NULL, viewable / impressions) AS viewable_rate,
    if(impressions = 0, NULL, clicks / impressions) AS ctr,
    if(viewable = 0, NULL, clicks / viewable) AS viewable_ctr
FROM events FINAL
WHERE gallery_id IN {galleries:Array(String)} AND type IN ('sponsor.impression', 'sponsor.clicked')
  AND occurred_at >= {since:DateTime64(3, 'UTC')} AND occurred_at < {until:DateTime64(3, 'UTC')}
GROUP BY placement
ORDER BY ctr DESC NULLS LAST, placement;
