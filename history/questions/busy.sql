-- The busiest tenth of the minutes of each group, by its own bytes, and a measure in them: each minute counts once.
-- A load is a bucket of 5 % of bytes, and a value one of 5 %, or of a tenth of a score: percentiles are exact to these.
--: digits
select 1 as one, 0 as d union all select 1, 1 union all select 1, 2 union all select 1, 3 union all select 1, 4
union all select 1, 5 union all select 1, 6 union all select 1, 7 union all select 1, 8 union all select 1, 9
--: axis
select 1 as one, k + 100 * hundreds as k
from (
    select one, ones + 10 * d as k from (select one, d as ones from ({digits}) a) b join ({digits}) c using (one)
) e
join (
    select 1 as one, 0 as hundreds union all select 1, 1 union all select 1, 2 union all select 1, 3
    union all select 1, 4 union all select 1, 5
    union all select 1, 6 union all select 1, 7
) f using (one)
--: minutes_of_groups
select
    {by} as value,
    t_ms as minute,
    sum(ul_bytes) + sum(dl_bytes) as bytes,
    floor(20 * ln(sum(ul_bytes) + sum(dl_bytes) + 1)) as load,
    sum(subscribers) as users,
    sum({measure}_sum) as summed,
    sum({measure}_n) as counted
from minutes
where t_ms >= {since_ms} and t_ms < {until_ms} and {by} <> '' and {place_filters}
group by {by}, t_ms
--: thresholds
select value, sum_minutes, max(case when above * 10 >= sum_minutes then k end) as least_load
from (
    select value, k, sum(case when load >= k then amount else 0 end) as above, sum(amount) as sum_minutes
    from (
        select 1 as one, value, load, count(*) as amount
        from ({minutes_of_groups}) g
        group by value, load
    ) heights
    join ({axis}) x using (one)
    group by value, k
) steps
group by value, sum_minutes
--: question
select
    value,
    max(minutes_n) as minutes,
    max(total) as minutes_busy,
    max(mean_bps) as bps,
    max(mean_users) as users,
    max(mean_value) as mean,
    min(case when below * 5 >= total then middle end) as p20,
    min(case when below * 2 >= total then middle end) as p50,
    min(case when below * 5 >= total * 4 then middle end) as p80
from (
    select
        value,
        k,
        case when {in_tenths} = 1 then (k + 0.5) / 10 else exp((k - 299.5) / 20) end as middle,
        sum(case when bucket <= k then amount else 0 end) as below,
        sum(amount) as total,
        max(minutes_n) as minutes_n,
        sum(group_bytes) * 8 / 60 / sum(amount) as mean_bps,
        sum(group_users) / sum(amount) as mean_users,
        sum(group_sum) / sum(group_n) as mean_value
    from (
        select
            1 as one,
            value,
            bucket,
            count(*) as amount,
            max(sum_minutes) as minutes_n,
            sum(bytes) as group_bytes,
            sum(users) as group_users,
            sum(summed) as group_sum,
            sum(counted) as group_n
        from (
            select
                value,
                sum_minutes,
                bytes,
                users,
                summed,
                counted,
                case
                    when {in_tenths} = 1 then floor(10 * summed / counted + 0.000001)
                    else floor(20 * ln(greatest(summed / counted, 0.000001))) + 300
                end as bucket
            from (select * from ({minutes_of_groups}) h where counted > 0) known
            join ({thresholds}) t using (value)
            where load >= least_load
        ) chosen
        group by value, bucket
    ) counts
    join ({axis}) y using (one)
    group by value, k
) steps
group by value
order by case when {high_is_good} = 1 then min(case when below * 5 >= total then middle end)
    else 0 - min(case when below * 5 >= total * 4 then middle end) end, value
limit {limit}
