-- Scores before and after a mark, in the same hours of the day, by application, gNB, DNN and slice.
-- The method is that of feed/change.py: the same subscriber with the same application at the same place on both sides,
-- each subscriber one observation, intervals of confidence that hold for all groups together with 99 % (Bonferroni).
-- Student's t is by G. W. Hill, Algorithm 396 (1970), the normal distribution by Abramowitz and Stegun, 26.2.23.
--: cells
select
    1 as one,
    subscriber,
    app,
    gnb,
    dnn,
    slice,
    sum(case when t_ms < {mark_ms} then mos_n else 0 end) as n1,
    sum(case when t_ms < {mark_ms} then 0 else mos_n end) as n2,
    sum(case when t_ms < {mark_ms} then mos_sum else 0 end) as s1,
    sum(case when t_ms < {mark_ms} then 0 else mos_sum end) as s2
from facts
where t_ms >= {first_ms} and t_ms < {until_ms} and mos_n > 0
    and (t_ms + span_ms <= {mark_ms} or t_ms >= {after_ms})
    and (t_ms - {first_ms}) % 86400000 < {hours_ms}
    and {filters}
group by subscriber, app, gnb, dnn, slice
having sum(case when t_ms < {mark_ms} then mos_n else 0 end) > 0
    and sum(case when t_ms < {mark_ms} then 0 else mos_n end) > 0
--: groups
select
    dimension,
    value,
    count(*) as people,
    avg(x1) as mean1,
    avg(x2) as mean2,
    sum((x2 - x1) * (x2 - x1)) as squares,
    sum(x2 - x1) as differences
from (
    select
        dimension,
        value,
        subscriber,
        sum(weight * s1 / n1) / sum(weight) as x1,
        sum(weight * s2 / n2) / sum(weight) as x2
    from (
        select
            dimension,
            case
                when dimension = 'app' then app
                when dimension = 'gnb' then gnb
                when dimension = 'dnn' then dnn
                else slice
            end as value,
            subscriber,
            n1 * 1.0e0 * n2 / (n1 + n2) as weight,
            n1,
            n2,
            s1,
            s2
        from ({cells}) c
        join (
            select 1 as one, 'app' as dimension union all select 1, 'gnb' union all select 1, 'dnn'
            union all select 1, 'slice'
        ) dimensions using (one)
    ) cell
    where value <> ''
    group by dimension, value, subscriber
) person
group by dimension, value
--: question
select
    dimension,
    value,
    people as subscribers,
    mean1 as before,
    mean2 as after,
    mean2 - mean1 as effect,
    case when people >= {least} then mean2 - mean1 - reach end as low,
    case when people >= {least} then mean2 - mean1 + reach end as high,
    case
        when people >= {least} and abs(mean2 - mean1) > reach and abs(mean2 - mean1) > 0.01 then 1 else 0
    end as found
from (
    select dimension, value, people, mean1, mean2, sqrt(freedom * y) * deviation / sqrt(people) as reach
    from (
        select
            dimension, value, people, mean1, mean2, deviation, freedom,
            case
                when y0 > 0.05 + a then
                    exp(a * y1 * y1) - 1
                else
                    (
                        (1 / (((freedom + 6) / (freedom * y0) - 0.089 * d - 0.822) * (freedom + 2) * 3)
                            + 0.5 / (freedom + 4)) * y0 - 1
                    ) * (freedom + 1) / (freedom + 2) + 1 / y0
            end as y
        from (
            select
                dimension, value, people, mean1, mean2, deviation, freedom, a, d, y0,
                (((((0.4 * x * x + 6.3) * x * x + 36) * x * x + 94.5) / c1 - x * x - 3) / b + 1) * x as y1
            from (
                select
                    dimension, value, people, mean1, mean2, deviation, freedom, a, b, d, y0, x,
                    c + (((0.05 * d * x - 5) * x - 7) * x - 2) * x + b as c1
                from (
                    select
                        dimension, value, people, mean1, mean2, deviation, freedom, chance, a, b, c, x, d,
                        pow(d * chance, 2 / freedom) as y0
                    from (
                        select
                            dimension, value, people, mean1, mean2, deviation, freedom, chance, a, b, c, x,
                            ((94.5 / (b + c) - 3) / b + 1) * sqrt(a * 1.5707963267948966) * freedom as d
                        from (
                            select
                                dimension, value, people, mean1, mean2, deviation, freedom, chance, a, b, x,
                                ((20700 * a / b - 98) * a - 16) * a + 96.36 as c
                            from (
                                select
                                    dimension, value, people, mean1, mean2, deviation, freedom, chance,
                                    1 / (freedom - 0.5) as a,
                                    48 * (freedom - 0.5) * (freedom - 0.5) as b,
                                    0 - (root - (2.515517 + 0.802853 * root + 0.010328 * root * root)
                                        / (1 + 1.432788 * root + 0.189269 * root * root
                                            + 0.001308 * root * root * root)) as x
                                from (
                                    select
                                        dimension, value, people, mean1, mean2,
                                        case when people > 1 then people - 1.0e0 else 1.0e0 end as freedom,
                                        sqrt(greatest(squares - differences * differences / people, 0.0e0)
                                            / greatest(people - 1.0e0, 1.0e0)) as deviation,
                                        0.01e0 / judged as chance,
                                        sqrt(0 - 2 * ln(0.005e0 / judged)) as root
                                    from (select 1 as one, dimension, value, people, mean1, mean2, squares, differences
                                        from ({groups}) g) known
                                    join (
                                        select 1 as one, greatest(count(*), 1) as judged
                                        from ({groups}) h
                                        where people >= {least}
                                    ) number using (one)
                                ) v1
                            ) v2
                        ) v3
                    ) v4
                ) v5
            ) v6
        ) v7
    ) v8
) v9
order by found desc, round(abs(mean2 - mean1), 6) desc, dimension, value
limit {limit}
