-- Applications by their bytes, with what their users had of them. Percentiles are exact to a tenth of a score.
--: tenths
select 1 as one, tens * 10 + ones as k
from (
    select 1 as one, 1 as tens union all select 1, 2 union all select 1, 3 union all select 1, 4 union all select 1, 5
) t
join (
    select 1 as one, 0 as ones union all select 1, 1 union all select 1, 2 union all select 1, 3 union all select 1, 4
    union all select 1, 5 union all select 1, 6 union all select 1, 7 union all select 1, 8 union all select 1, 9
) o using (one)
--: question
select
    app_class, app, subscribers, hours, bytes, records_n as records, score, bad_share, low as score_p10, half as score_p50
from (
    select
        app_class,
        app,
        count(distinct subscriber) as subscribers,
        sum(active_ms) / 3600000 as hours,
        sum(ul_bytes) + sum(dl_bytes) as bytes,
        sum(records) as records_n,
        case when sum(mos_n) > 0 then sum(mos_sum) / sum(mos_n) end as score,
        case when sum(mos_n) > 0 then sum(bad) / sum(mos_n) end as bad_share
    from facts
    where t_ms >= {since_ms} and t_ms < {until_ms} and {filters}
    group by app_class, app
) used
left join (
    select
        app_class,
        app,
        min(case when below * 10 >= total then k end) / 10 + 0.05 as low,
        min(case when below * 2 >= total then k end) / 10 + 0.05 as half
    from (
        select app_class, app, k, sum(case when bucket <= k then amount else 0 end) as below, sum(amount) as total
        from (
            select 1 as one, app_class, app, bucket, sum(n) as amount
            from buckets
            where t_ms >= {since_ms} and t_ms < {until_ms} and measure = 'mos' and {place_filters}
            group by app_class, app, bucket
        ) counted
        join ({tenths}) axis using (one)
        group by app_class, app, k
    ) steps
    group by app_class, app
) spread using (app_class, app)
order by bytes desc, app_class, app
limit {limit}
