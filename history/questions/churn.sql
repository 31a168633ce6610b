-- Subscribers with bad days (UTC) one after another: who has had enough soon. The longest run of each.
-- A day is bad when enough of it was scored, and a fifth of these scores were poor or bad.
--: bad_days
select
    subscriber,
    t_ms - t_ms % 86400000 as day_ms,
    sum(mos_n) as scored,
    sum(mos_sum) as summed,
    sum(bad) as bad_records
from facts
where t_ms >= {since_ms} and t_ms < {until_ms} and {filters}
group by subscriber, t_ms - t_ms % 86400000
having sum(mos_n) >= {least} and sum(bad) * 5 >= sum(mos_n)
--: runs
select
    subscriber,
    count(*) as days,
    min(day_ms) as first_ms,
    max(day_ms) as last_ms,
    sum(run_sum) / sum(run_n) as score,
    sum(run_bad) / sum(run_n) as bad_share
from (
    select
        subscriber,
        day_ms,
        day_ms - 86400000 * sum(case when other <= day_ms then 1 else 0 end) as island,
        max(scored) as run_n,
        max(summed) as run_sum,
        max(bad_records) as run_bad
    from ({bad_days}) a
    join (select subscriber, day_ms as other from ({bad_days}) b) c using (subscriber)
    group by subscriber, day_ms
) ranked
group by subscriber, island
--: question
select subscriber, days, first_ms, last_ms, score, bad_share
from ({runs}) r
join (
    select subscriber, max(days * 10000000000000 + last_ms) as longest
    from ({runs}) s
    group by subscriber
) l using (subscriber)
where days * 10000000000000 + last_ms = longest and days >= {days}
order by days desc, round(score, 6), subscriber
limit {limit}
