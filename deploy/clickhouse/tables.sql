-- Tables of a cluster that is named snf, for each of its servers; snf collect --sink clickhouse makes them by itself.
-- Questions want the settings join_use_nulls = 1 and distributed_product_mode = 'global'.

CREATE TABLE IF NOT EXISTS records_local (
    nf String,
    boot String,
    seq Int64,
    app_class String,
    t_ms Int64,
    interval_ms Int64,
    subscriber String,
    identity_source String,
    dnn String,
    app String,
    app_basis String,
    flows Int64,
    ul_bytes Int64,
    dl_bytes Int64,
    ul_packets Int64,
    dl_packets Int64,
    ul_bps Nullable(Float64),
    dl_bps Nullable(Float64),
    rtt_access_ms Nullable(Float64),
    rtt_core_ms Nullable(Float64),
    rtt_min_access_ms Nullable(Float64),
    rtt_min_core_ms Nullable(Float64),
    rtt_samples Int64,
    loss_ul Nullable(Float64),
    loss_dl Nullable(Float64),
    jitter_dl_ms Nullable(Float64),
    gap_max_dl_ms Nullable(Float64),
    ran_ul_ms Nullable(Float64),
    ran_dl_ms Nullable(Float64),
    n3_rtt_ms Nullable(Float64),
    upf_ul_ms Nullable(Float64),
    upf_dl_ms Nullable(Float64),
    mos Nullable(Float64),
    suspect String,
    app_confidence Int64,
    dns_queries Nullable(Float64),
    dns_ms Nullable(Float64),
    dns_failed Nullable(Float64),
    dns_retried Nullable(Float64),
    vpn_share Nullable(Float64),
    ttls Nullable(Float64),
    rtt_high_access_ms Nullable(Float64),
    rtt_high_core_ms Nullable(Float64),
    confidence Nullable(Float64),
    unmeasured String,
    model String,
    video_height Nullable(Float64),
    media_bps Nullable(Float64),
    startup_s Nullable(Float64),
    stalled_s Nullable(Float64),
    stalls Nullable(Float64),
    stall_ratio Nullable(Float64),
    buffer_s Nullable(Float64),
    switches Nullable(Float64),
    state String,
    mos_session Nullable(Float64),
    fps Nullable(Float64),
    freezes Nullable(Float64),
    frozen_s Nullable(Float64),
    video_bps Nullable(Float64),
    frame_jitter_ms Nullable(Float64),
    codec String,
    loss_burst Nullable(Float64),
    beyond_loss Nullable(Float64),
    lag_ms Nullable(Float64),
    lag_jitter_ms Nullable(Float64),
    tick_ms Nullable(Float64),
    tick_loss Nullable(Float64),
    spikes Nullable(Float64),
    spike_ms Nullable(Float64),
    page_s Nullable(Float64),
    pages Nullable(Float64),
    answer_ms Nullable(Float64),
    speed_bps Nullable(Float64),
    limit String,
    suspect_by String,
    suspect_value Nullable(Float64),
    gnb String,
    slice String,
    suspect_confidence Nullable(Float64),
    rat String,
    tai String,
    cell String
) ENGINE = MergeTree
PARTITION BY toYYYYMMDD(toDateTime(intDiv(t_ms, 1000), 'UTC'))
ORDER BY (subscriber, t_ms);

CREATE TABLE IF NOT EXISTS records AS records_local
ENGINE = Distributed(snf, currentDatabase(), records_local, cityHash64(subscriber));

CREATE TABLE IF NOT EXISTS facts_local (
    t_ms Int64,
    span_ms Int64,
    subscriber String,
    nf String,
    app_class String,
    app String,
    gnb String,
    slice String,
    dnn String,
    rat String,
    tai String,
    cell String,
    records Int64,
    active_ms Int64,
    ul_bytes Int64,
    dl_bytes Int64,
    peak_dl_bps Float64,
    stalled_s Float64,
    stalls Float64,
    freezes Float64,
    bad Int64,
    sessions Int64,
    level_480_ms Int64,
    level_720_ms Int64,
    level_1080_ms Int64,
    level_2160_ms Int64,
    suspect_access Int64,
    suspect_n3 Int64,
    suspect_upf Int64,
    suspect_core Int64,
    suspect_loss Int64,
    suspect_server Int64,
    suspect_device Int64,
    suspect_app Int64,
    mos_sum Float64,
    mos_n Int64,
    rtt_access_ms_sum Float64,
    rtt_access_ms_n Int64,
    rtt_core_ms_sum Float64,
    rtt_core_ms_n Int64,
    loss_ul_sum Float64,
    loss_ul_n Int64,
    loss_dl_sum Float64,
    loss_dl_n Int64,
    jitter_dl_ms_sum Float64,
    jitter_dl_ms_n Int64,
    ran_ul_ms_sum Float64,
    ran_ul_ms_n Int64,
    ran_dl_ms_sum Float64,
    ran_dl_ms_n Int64,
    n3_rtt_ms_sum Float64,
    n3_rtt_ms_n Int64,
    upf_ul_ms_sum Float64,
    upf_ul_ms_n Int64,
    upf_dl_ms_sum Float64,
    upf_dl_ms_n Int64,
    video_height_sum Float64,
    video_height_n Int64,
    startup_s_sum Float64,
    startup_s_n Int64,
    fps_sum Float64,
    fps_n Int64,
    lag_ms_sum Float64,
    lag_ms_n Int64,
    page_s_sum Float64,
    page_s_n Int64,
    speed_bps_sum Float64,
    speed_bps_n Int64
) ENGINE = MergeTree
PARTITION BY toYYYYMMDD(toDateTime(intDiv(t_ms, 1000), 'UTC'))
ORDER BY (subscriber, t_ms);

CREATE TABLE IF NOT EXISTS facts AS facts_local
ENGINE = Distributed(snf, currentDatabase(), facts_local, cityHash64(subscriber));

CREATE TABLE IF NOT EXISTS minutes_local (
    t_ms Int64,
    span_ms Int64,
    nf String,
    app_class String,
    app String,
    gnb String,
    slice String,
    dnn String,
    rat String,
    tai String,
    cell String,
    subscribers Int64,
    records Int64,
    active_ms Int64,
    ul_bytes Int64,
    dl_bytes Int64,
    peak_dl_bps Float64,
    stalled_s Float64,
    stalls Float64,
    freezes Float64,
    bad Int64,
    sessions Int64,
    level_480_ms Int64,
    level_720_ms Int64,
    level_1080_ms Int64,
    level_2160_ms Int64,
    suspect_access Int64,
    suspect_n3 Int64,
    suspect_upf Int64,
    suspect_core Int64,
    suspect_loss Int64,
    suspect_server Int64,
    suspect_device Int64,
    suspect_app Int64,
    mos_sum Float64,
    mos_n Int64,
    rtt_access_ms_sum Float64,
    rtt_access_ms_n Int64,
    rtt_core_ms_sum Float64,
    rtt_core_ms_n Int64,
    loss_ul_sum Float64,
    loss_ul_n Int64,
    loss_dl_sum Float64,
    loss_dl_n Int64,
    jitter_dl_ms_sum Float64,
    jitter_dl_ms_n Int64,
    ran_ul_ms_sum Float64,
    ran_ul_ms_n Int64,
    ran_dl_ms_sum Float64,
    ran_dl_ms_n Int64,
    n3_rtt_ms_sum Float64,
    n3_rtt_ms_n Int64,
    upf_ul_ms_sum Float64,
    upf_ul_ms_n Int64,
    upf_dl_ms_sum Float64,
    upf_dl_ms_n Int64,
    video_height_sum Float64,
    video_height_n Int64,
    startup_s_sum Float64,
    startup_s_n Int64,
    fps_sum Float64,
    fps_n Int64,
    lag_ms_sum Float64,
    lag_ms_n Int64,
    page_s_sum Float64,
    page_s_n Int64,
    speed_bps_sum Float64,
    speed_bps_n Int64
) ENGINE = MergeTree
PARTITION BY toYYYYMMDD(toDateTime(intDiv(t_ms, 1000), 'UTC'))
ORDER BY (t_ms);

CREATE TABLE IF NOT EXISTS minutes AS minutes_local
ENGINE = Distributed(snf, currentDatabase(), minutes_local, rand());

CREATE TABLE IF NOT EXISTS buckets_local (
    t_ms Int64,
    span_ms Int64,
    nf String,
    app_class String,
    app String,
    gnb String,
    slice String,
    dnn String,
    rat String,
    tai String,
    cell String,
    measure String,
    bucket Int64,
    n Int64
) ENGINE = MergeTree
PARTITION BY toYYYYMMDD(toDateTime(intDiv(t_ms, 1000), 'UTC'))
ORDER BY (measure, t_ms);

CREATE TABLE IF NOT EXISTS buckets AS buckets_local
ENGINE = Distributed(snf, currentDatabase(), buckets_local, rand());

CREATE TABLE IF NOT EXISTS delays_local (
    nf String,
    boot String,
    seq Int64,
    t_ms Int64,
    interval_ms Int64,
    gnb String,
    slice String,
    measure String,
    bucket Int64,
    n Int64
) ENGINE = MergeTree
PARTITION BY toYYYYMMDD(toDateTime(intDiv(t_ms, 1000), 'UTC'))
ORDER BY (measure, t_ms);

CREATE TABLE IF NOT EXISTS delays AS delays_local
ENGINE = Distributed(snf, currentDatabase(), delays_local, rand());

CREATE TABLE IF NOT EXISTS gaps_local (
    nf String,
    boot String,
    seq Int64,
    t_ms Int64,
    topic String,
    messages Int64,
    since_ms Int64,
    until_ms Int64,
    why String
) ENGINE = MergeTree
PARTITION BY toYYYYMMDD(toDateTime(intDiv(t_ms, 1000), 'UTC'))
ORDER BY (t_ms);

CREATE TABLE IF NOT EXISTS gaps AS gaps_local
ENGINE = Distributed(snf, currentDatabase(), gaps_local, rand());

CREATE TABLE IF NOT EXISTS marks_local (
    nf String,
    boot String,
    seq Int64,
    t_ms Int64,
    text String,
    who String,
    app String,
    gnb String,
    dnn String,
    slice String
) ENGINE = MergeTree
PARTITION BY toYYYYMMDD(toDateTime(intDiv(t_ms, 1000), 'UTC'))
ORDER BY (t_ms);

CREATE TABLE IF NOT EXISTS marks AS marks_local
ENGINE = Distributed(snf, currentDatabase(), marks_local, rand());

CREATE TABLE IF NOT EXISTS alarms_local (
    nf String,
    boot String,
    seq Int64,
    t_ms Int64,
    state String,
    subscriber String,
    app String,
    app_class String,
    gnb String,
    slice String,
    mos Float64,
    suspect String,
    suspect_by String,
    suspect_value Float64,
    since_ms Int64,
    threshold Float64,
    others Int64
) ENGINE = MergeTree
PARTITION BY toYYYYMMDD(toDateTime(intDiv(t_ms, 1000), 'UTC'))
ORDER BY (t_ms);

CREATE TABLE IF NOT EXISTS alarms AS alarms_local
ENGINE = Distributed(snf, currentDatabase(), alarms_local, rand());

CREATE TABLE IF NOT EXISTS health_local (
    nf String,
    boot String,
    seq Int64,
    t_ms Int64,
    topic String,
    next_seq Int64,
    uptime_ms Int64,
    inspected_bytes Int64,
    unflowed_bytes Int64,
    unread_bytes Int64,
    outside_bytes Int64,
    exported_bytes Int64,
    records Int64,
    dropped_messages Int64,
    dropped_rows Int64,
    subscriptions Int64,
    followed Int64,
    sessions Int64,
    partial_sessions Int64,
    redirect_lost Int64,
    clock_steps Int64,
    clock_step_ms Int64,
    intervals Int64,
    next_batch_ms Int64,
    not_read String,
    dropped_frames Int64,
    dropped_signalling Int64,
    ring_lost Int64,
    flows Int64,
    flow_room Int64,
    evicted_flows Int64,
    details Int64,
    detail_room Int64,
    undetailed_packets Int64,
    session_room Int64,
    sessions_pfcp Int64,
    sessions_gtp_c Int64,
    sessions_radius Int64,
    sessions_ngap Int64,
    sessions_netconf Int64,
    recorded_bytes Int64,
    unowned_bytes Int64
) ENGINE = MergeTree
PARTITION BY toYYYYMMDD(toDateTime(intDiv(t_ms, 1000), 'UTC'))
ORDER BY (t_ms);

CREATE TABLE IF NOT EXISTS health AS health_local
ENGINE = Distributed(snf, currentDatabase(), health_local, rand());
