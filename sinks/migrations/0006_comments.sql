-- Columns of views without parameters can have comments of their own. Those of views with parameters cannot: the
-- comment of such a view says what it is on its first line, then a line for each column.

ALTER TABLE photo_states COMMENT COLUMN gallery_id 'Gallery', COMMENT COLUMN photo_id 'Photo',
    COMMENT COLUMN first_upload 'First photo.uploaded; the year 2299 while there is none',
    COMMENT COLUMN last_highlight 'Latest photo.highlighted', COMMENT COLUMN last_faces 'Latest faces.detected',
    COMMENT COLUMN last_groups 'Latest photo.grouped',
    COMMENT COLUMN processed 'There is a faces.detected or a faces.failed',
    COMMENT COLUMN deleted 'There is a photo.deleted';

ALTER TABLE selfie_states COMMENT COLUMN gallery_id 'Gallery', COMMENT COLUMN selfie_id 'Selfie',
    COMMENT COLUMN first_taken 'First selfie.taken; the year 2299 while there is none',
    COMMENT COLUMN first_match 'First match.found; the year 2299 while there is none',
    COMMENT COLUMN last_miss 'Latest match.missed';

ALTER TABLE group_states COMMENT COLUMN gallery_id 'Gallery', COMMENT COLUMN group_id 'Group: one person',
    COMMENT COLUMN created 'First group.created; the year 2299 while there is none',
    COMMENT COLUMN first_retrieved 'First photos.retrieved; the year 2299 while there is none',
    COMMENT COLUMN first_found 'First match.found; the year 2299 while there is none',
    COMMENT COLUMN last_match 'Latest match.found',
    COMMENT COLUMN merged 'Latest group.merged; into itself means undone';

ALTER TABLE schedules COMMENT COLUMN gallery_id 'Gallery', COMMENT COLUMN name 'Name of the gallery',
    COMMENT COLUMN organizer_id 'Organizer', COMMENT COLUMN organizer 'Name of the organizer',
    COMMENT COLUMN starts_at 'Start of the event that the gallery shows',
    COMMENT COLUMN ends_at 'End of the event that the gallery shows',
    COMMENT COLUMN timezone 'IANA time zone of the gallery';

ALTER TABLE kpis MODIFY COMMENT 'The KPI cards: one row
uploaded: Photos first uploaded in the range and not deleted at any time (the photos of the range)
uploaded_organizer: Those that the organizer uploaded
contributed: Those that the community uploaded
bytes: Their size
bytes_organizer: Size of those by the organizer
bytes_community: Size of those by the community
highlighted: Those whose latest highlight is on
faces: Faces in them, by the latest detection of each
face_groups: People in them: distinct groups, merges resolved
matched_groups: Those of the people whose photos somebody opened before the end of the range
unmatched_groups: The other people
found_not_opened: Those of the others whom a selfie has found before the end of the range
match_rate: matched_groups / face_groups
photos_per_person: Pairs of a photo of the range and a person in it / face_groups
downloads: Photos downloaded in the range, every photo of a zip counted
shares: Photos shared to social networks in the range';

ALTER TABLE funnel MODIFY COMMENT 'Seven steps from photo to share; units change on the way
step: 1 to 7
name: photos, faces, face_groups, selfies, matched_selfies, downloads or shares
count: As in kpis; selfies first taken in the range, and selfies first matched in the range
ratio: count / count of the step before';

ALTER TABLE visitor_funnel MODIFY COMMENT 'Visitors who did a step and all the ones before it in the range, in whatever order
step: 1 to 6
name: visit, selfie, match, retrieval, download or share
visitors: Distinct visitors who got here
conversion: visitors / visitors of the step before
steepest: 1 for the step with the lowest conversion, the first of equals
advice: What to do about the steepest step, empty for the others';

ALTER TABLE failed_selfies MODIFY COMMENT 'Selfies that found nobody, by reason
reason: no_face, many_faces, low_quality, ambiguous or no_match
selfies: Failed attempts in the range, more than none';

ALTER TABLE downloads_by_time MODIFY COMMENT 'Downloads per quarter of an hour, hour or day of the gallery''s own zone: step is quarter, hour or day
gallery_id: Gallery
time: Instant at which the quarter, hour or day begins
downloads: Photos downloaded, more than none';

ALTER TABLE downloads_by_phase MODIFY COMMENT 'Downloads before, during and after the event, by the gallery''s own days: always six rows
position: 1 to 6
phase: before, during, same_day (to the next local midnight), next_days (to the midnight 7 days later), week_later, or unscheduled without a gallery.scheduled
downloads: Photos downloaded in the range';

ALTER TABLE channels MODIFY COMMENT 'Visits and visitors by channel: always seven rows
position: 1 to 7
channel: direct, email, whatsapp, website, social, other or unknown
visits: Visits in the range by this channel
visitors: Distinct visitors with such a visit; one with two channels counts at both
first_visitors: Visitors active in the range whose first visit ever came by this channel
last_visitors: Visitors active in the range whose last channel this is: the last but direct before the end of the range, else direct
downloaders: Those of last_visitors who downloaded in the range
conversion: downloaders / last_visitors';

ALTER TABLE shares_by_network MODIFY COMMENT 'Shares by social network
network: Social network
shares: Photos shared in the range, more than none';

ALTER TABLE sponsor_results MODIFY COMMENT 'Results of the sponsors that were seen or clicked in the range or are registered in the galleries
sponsor_id: Sponsor, the same across galleries
name: Name in the latest registration
impressions: Ads shown in the range
viewable: Those with half of the ad or more on the screen for a second or more
clicks: Ads clicked in the range
ctr: clicks / impressions
viewers: Distinct visitors with an impression, by gallery
fee: Fees of the galleries added up; NULL without a registration or with several currencies
currency: Currency of the fee
cost_per_click: fee / clicks
cost_per_1000_viewable: fee * 1000 / viewable';

ALTER TABLE sponsor_ads MODIFY COMMENT 'Ads of the sponsors
sponsor_id: Sponsor
ad_id: Ad
impressions: Times shown in the range
clicks: Times clicked in the range
ctr: clicks / impressions';

ALTER TABLE targets MODIFY COMMENT 'Targets: five rows with value, status and what to do
position: 1 to 5
metric: match_rate, downloads_growth (last whole local day of the range less the day before), share_rate (shares / downloads), contributed or steepest_drop
value: Value in the range, NULL without data
target: The value has to be greater than this; the steepest drop has no target
status: ok, low or no data
advice: What to do if it is low, or about the steepest drop';

ALTER TABLE top_people MODIFY COMMENT 'People by number of photos, most first
gallery_id: Gallery
group_id: Person, merges resolved
name: Name of the attendee of the latest match ever, where it may be shown
photos: Photos of the range with this person';

ALTER TABLE recent_access MODIFY COMMENT 'Who opened their photos in the range, newest first
time: When
event_id: Id of the photos.retrieved
gallery_id: Gallery
visitor_id: Pseudonym of the visitor
name: Their name, where it may be shown
group_id: Group as it was then, before later merges
photos: Photos they saw';

ALTER TABLE recent_contributions MODIFY COMMENT 'Community photos of the range by visitor, latest first
gallery_id: Gallery
visitor_id: Pseudonym of the visitor, empty where unknown
name: Their name, where it may be shown
time: Their latest upload
photos: Their photos';

ALTER TABLE campaign_effects MODIFY COMMENT 'Visits, downloads and shares in the `span` seconds before and after each campaign whose latest sending lies in the range
gallery_id: Gallery
campaign_id: Campaign
name: Its name
channel: Way it went out
sent_at: When it was sent last
recipients: Addressees
visits_before: Visits in the span before
visits_after: Visits in the span from the sending on
downloads_before: Photos downloaded in the span before
downloads_after: Photos downloaded in the span from the sending on
shares_before: Shares in the span before
shares_after: Shares in the span from the sending on';

ALTER TABLE daily_check MODIFY COMMENT 'What to look at today
check: waiting_for_faces (photos of the range, 10 minutes old or more, that the face worker has not looked at), upload_failed or match_rate
reason: Reason of the failed uploads, else empty
value: Number of photos or uploads, or the rate';
