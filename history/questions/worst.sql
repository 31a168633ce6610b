-- Who, or where, is worst: groups with enough scores, the lowest mean score first.
select
    value,
    subscribers,
    scored,
    score,
    bad_share,
    case
        when most = 0 then ''
        when most = on_access then 'access'
        when most = on_n3 then 'n3'
        when most = on_upf then 'upf'
        when most = on_core then 'core'
        when most = on_loss then 'loss'
        when most = on_server then 'server'
        when most = on_device then 'device'
        else 'app'
    end as suspect,
    case when most > 0 then most / suspected else 0 end as suspect_share,
    rtt_access as rtt_access_ms,
    rtt_core as rtt_core_ms,
    lost_dl as loss_dl,
    bytes
from (
    select
        {by} as value,
        count(distinct subscriber) as subscribers,
        sum(mos_n) as scored,
        case when sum(mos_n) > 0 then sum(mos_sum) / sum(mos_n) end as score,
        case when sum(mos_n) > 0 then sum(bad) / sum(mos_n) end as bad_share,
        sum(suspect_access) as on_access,
        sum(suspect_n3) as on_n3,
        sum(suspect_upf) as on_upf,
        sum(suspect_core) as on_core,
        sum(suspect_loss) as on_loss,
        sum(suspect_server) as on_server,
        sum(suspect_device) as on_device,
        sum(suspect_app) as on_app,
        sum(suspect_access) + sum(suspect_n3) + sum(suspect_upf) + sum(suspect_core)
            + sum(suspect_loss) + sum(suspect_server) + sum(suspect_device) + sum(suspect_app) as suspected,
        greatest(
            greatest(greatest(sum(suspect_access), sum(suspect_n3)), greatest(sum(suspect_upf), sum(suspect_core))),
            greatest(greatest(sum(suspect_loss), sum(suspect_server)), greatest(sum(suspect_device), sum(suspect_app)))
        ) as most,
        case when sum(rtt_access_ms_n) > 0 then sum(rtt_access_ms_sum) / sum(rtt_access_ms_n) end as rtt_access,
        case when sum(rtt_core_ms_n) > 0 then sum(rtt_core_ms_sum) / sum(rtt_core_ms_n) end as rtt_core,
        case when sum(loss_dl_n) > 0 then sum(loss_dl_sum) / sum(loss_dl_n) end as lost_dl,
        sum(ul_bytes) + sum(dl_bytes) as bytes
    from facts
    where t_ms >= {since_ms} and t_ms < {until_ms} and {by} <> '' and {filters}
    group by {by}
    having sum(mos_n) >= {least}
) grouped
order by round(score, 6), value
limit {limit}
