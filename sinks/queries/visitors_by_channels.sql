-- Do visitors who come by several channels download more?
--
-- One row per number of different channels of a visitor's visits in the range. 0: active in the range without a visit
-- in it. Channel `direct` counts as one.
SELECT length(channels) AS number_of_channels, count() AS visitors, countIf(bitAnd(steps, 16) = 16) AS downloaders,
    downloaders / visitors AS conversion
FROM visitors(galleries = {galleries:Array(String)}, since = {since:DateTime64(3, 'UTC')}, until = {until:DateTime64(3, 'UTC')})
GROUP BY number_of_channels
ORDER BY number_of_channels;
