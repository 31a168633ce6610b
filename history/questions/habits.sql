-- Hours, sessions and the peak of viewers (video, live video) and players (games).
-- A peak is of the mean number in a minute. With levels, time and sessions of a span are shared by time at each.
--: levels
{levels}
--: question
select kind, value, subscribers, hours, begun as sessions, peak
from (
    select
        kind,
        value,
        count(distinct subscriber) as subscribers,
        sum(part_ms) / 3600000 as hours,
        sum(case when active > 0 then begun_all * part_ms / active else 0 end) as begun
    from (
        select
            case when app_class = 'gaming' then 'players' else 'viewers' end as kind,
            {group} as value,
            subscriber,
            active_ms as active,
            sessions as begun_all,
            {part_ms} as part_ms
        from (
            select 1 as one, t_ms, app_class, app, gnb, slice, subscriber, active_ms, sessions,
                level_480_ms, level_720_ms, level_1080_ms, level_2160_ms
            from facts
            where t_ms >= {since_ms} and t_ms < {until_ms}
                and (app_class = 'video' or app_class = 'live-video' or app_class = 'gaming') and {filters}
        ) watched
        join ({levels}) l using (one)
    ) parts
    where part_ms > 0
    group by kind, value
) used
left join (
    select kind, value, max(together) as peak
    from (
        select kind, value, minute, sum(part_ms) / 60000 as together
        from (
            select
                case when app_class = 'gaming' then 'players' else 'viewers' end as kind,
                {group} as value,
                t_ms as minute,
                {part_ms} as part_ms
            from (
                select 1 as one, t_ms, app_class, app, gnb, slice, active_ms,
                    level_480_ms, level_720_ms, level_1080_ms, level_2160_ms
                from minutes
                where t_ms >= {since_ms} and t_ms < {until_ms}
                    and (app_class = 'video' or app_class = 'live-video' or app_class = 'gaming') and {place_filters}
            ) shown
            join ({levels}) m using (one)
        ) parts
        group by kind, value, minute
    ) each_minute
    group by kind, value
) peaks using (kind, value)
where hours > 0
order by kind desc, {order}
limit {limit}
