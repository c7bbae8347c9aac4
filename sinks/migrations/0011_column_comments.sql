-- What the columns of views with parameters mean that dashboards and metric views are made of, as in 0006.

ALTER TABLE activity MODIFY COMMENT 'What happened in each gallery, at any time: photos, visits, downloads and shares with the quarter of an hour, or the instant where the event does not start on one
gallery_id: Gallery
gallery: Name of the gallery
starts_at: Start of its event
zone: IANA time zone of the gallery
at: When it happened
photos: Photos uploaded, without deleted ones
contributed: Those that the community uploaded
visits: Visits
downloads: Photos downloaded, every photo of a zip counted
shares: Photos shared to social networks';

ALTER TABLE activity_by_day MODIFY COMMENT 'Photos, visits, downloads and shares of each event by day in its own zone; day 1 is the day it starts
gallery_id: Gallery
gallery: Name of the gallery
day: 1 on the day the event starts, 0 and less before
photos: Photos uploaded, without deleted ones
contributed: Those that the community uploaded
visits: Visits
downloads: Photos downloaded, every photo of a zip counted
shares: Photos shared to social networks';

ALTER TABLE activity_by_hour MODIFY COMMENT 'Photos, visits, downloads and shares of each event by hours since its start (negative before it)
gallery_id: Gallery
gallery: Name of the gallery
hour: Whole hours since the start: 0 is the first hour
photos: Photos uploaded, without deleted ones
contributed: Those that the community uploaded
visits: Visits
downloads: Photos downloaded, every photo of a zip counted
shares: Photos shared to social networks';

ALTER TABLE attendee_names MODIFY COMMENT 'Names that may be shown: registered, with consent, not erased
gallery_id: Gallery
visitor_id: Pseudonym of the visitor
name: Name of the latest registration';

ALTER TABLE buckets_behind MODIFY COMMENT 'Quarters of an hour with facts inserted since then that `metrics` has not seen all of, and when the first of these came
gallery_id: Gallery
type: Event type
bucket: Quarter of an hour
waiting_since: When ClickHouse took the first fact that was inserted since then';

ALTER TABLE campaigns_sent MODIFY COMMENT 'Campaigns sent in the range
gallery_id: Gallery
campaign_id: Campaign
sent_at: When it was sent, the latest time
name: Name of the campaign
channel: Way it went out
recipients: Addressees';

ALTER TABLE counts MODIFY COMMENT 'Counts of the range by gallery, event type and quarter of an hour
gallery_id: Gallery
type: Event type
bucket: Quarter of an hour; one that the range cuts counts with its part within
events: Number of facts
amount: Photos of downloads and retrievals, bytes of uploads, faces of detections, else facts
channels: Facts by channel
networks: Facts by social network
sponsors: Facts by sponsor
viewable: Viewable impressions by sponsor
ads: Facts by ad: sponsor_id, a space, ad_id
campaigns: Facts by campaign
reasons: Facts by reason';

ALTER TABLE download_growth MODIFY COMMENT 'Downloads of the last whole local day of the range and of the day before, per gallery that has both
gallery_id: Gallery
last_downloads: Photos downloaded on the last whole day
previous_downloads: Photos downloaded on the day before';

ALTER TABLE event_days MODIFY COMMENT 'The spans of each scheduled event: 30 days before, during, each day in its own zone, 30 days after
gallery_id: Gallery
gallery: Name of the gallery
starts_at: Start of the event
ends_at: End of the event
position: Order of the spans
span: before, during, day 1, day 2 ... or after
begins: First instant of the span
ends: First instant behind it';

ALTER TABLE facts_of MODIFY COMMENT 'The facts of some galleries, types and buckets (seconds since 1970), each once; columns as in events';

ALTER TABLE group_roots MODIFY COMMENT 'Groups that were merged, and the group at the end of their merges (16 links at most)
gallery_id: Gallery
group_id: Group that was merged
root: Group that it is part of now';

ALTER TABLE kpi_changes MODIFY COMMENT 'The key figures of [since, until), and those of [before, since) as `previous_`: one row
uploaded: Photos first uploaded in the range and not deleted at any time
bytes: Their size
highlighted: Those whose latest highlight is on
contributed: Those that the community uploaded
face_groups: People in them: distinct groups, merges resolved
downloads: Photos downloaded, every photo of a zip counted
shares: Photos shared to social networks
previous_uploaded: The same of the period before
previous_bytes: The same of the period before
previous_highlighted: The same of the period before
previous_contributed: The same of the period before
previous_face_groups: The same of the period before
previous_downloads: The same of the period before
previous_shares: The same of the period before';

ALTER TABLE kpi_timeline MODIFY COMMENT 'The key figures as running totals over the range, a row per `step` seconds with news; the last row is what `kpis` says
time: Start of the step
uploaded: Photos first uploaded in the range and not deleted at any time, until the end of the step
bytes: Their size, until the end of the step
highlighted: Those whose latest highlight is on, until the end of the step
contributed: Those that the community uploaded, until the end of the step
face_groups: People in them: distinct groups, merges resolved, until the end of the step
downloads: Photos downloaded, every photo of a zip counted, until the end of the step
shares: Photos shared to social networks, until the end of the step';

ALTER TABLE kpis_by_gallery MODIFY COMMENT 'Key figures of each gallery that had anything in the range
gallery_id: Gallery
uploaded: Photos first uploaded in the range and not deleted at any time
contributed: Those that the community uploaded
face_groups: People in them: distinct groups, merges resolved
matched_groups: Those of the people whose photos somebody opened before the end of the range
match_rate: matched_groups / face_groups
active_visitors: Visitors with a step in the range
downloads: Photos downloaded, every photo of a zip counted
shares: Photos shared to social networks
share_rate: shares / downloads
uploads_failed: Uploads that did not work';

ALTER TABLE people MODIFY COMMENT 'Groups in the photos of the range, merges resolved, with the number of those photos
gallery_id: Gallery
group_id: Group: one person
photos: Photos of the range with this person
matched: Somebody opened the photos before the end of the range
found: A selfie has found the person before the end of the range
visitor_id: Visitor of the latest match ever; empty without one';

ALTER TABLE photos_in_range MODIFY COMMENT 'Photos first uploaded in the range and not deleted at any time
gallery_id: Gallery
photo_id: Photo
uploaded_at: First upload
origin: organizer or community
bytes: Size
visitor_id: Who uploaded it first; empty where unknown
highlighted: The latest highlight is on
faces: Faces of the latest detection
group_ids: Everybody in it, by the latest grouping
processed: There is a faces.detected or a faces.failed';

ALTER TABLE sponsor_by_gallery MODIFY COMMENT 'Impressions, viewable impressions, clicks and CTR of each sponsor in each gallery
gallery_id: Gallery
sponsor_id: Sponsor
impressions: Ads shown
viewable: Those of which half or more was on the screen for a second or longer
clicks: Clicks
ctr: clicks / impressions';

ALTER TABLE steepest_drops MODIFY COMMENT 'The steepest drop of the visitor funnel of each gallery: its step with the lowest conversion, the first of equals
gallery_id: Gallery
name: Step that the fewest go on to: selfie, match, retrieval, download or share
visitors_before: Visitors at the step before
conversion: Visitors who got to it / visitors_before';

ALTER TABLE visitor_channels MODIFY COMMENT 'First channel of each visitor ever, and the last one before `until`: the last that is not direct, else direct after any visit
gallery_id: Gallery
visitor_id: Pseudonym of the visitor
first_channel: Channel of the first visit
last_channel: Channel of the latest visit that is not direct';

ALTER TABLE visitors MODIFY COMMENT 'Visitors with a step in the range
gallery_id: Gallery
visitor_id: Pseudonym of the visitor
steps: Sum of the steps done: 1 visit, 2 selfie, 4 match, 8 retrieval, 16 download, 32 share
channels: Channels of their visits in the range';
