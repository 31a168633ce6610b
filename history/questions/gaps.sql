-- Parts of the past that are missing: what was published and did not arrive, or was not written.
select t_ms, nf, topic, why, messages, since_ms, until_ms
from gaps
where t_ms >= {since_ms} and t_ms < {until_ms} and {gap_filters}
order by t_ms desc, nf, topic, boot, since_ms
limit {limit}
