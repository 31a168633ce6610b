// The watching page: starts a player on a <video> and tells, each 250 ms and at each event, how it is.
// `tell` is a binding of the lab; `job` says player, manifest and seconds of buffer. Times are Date.now() / 1000.
"use strict";

const say = (what) => tell(JSON.stringify({ t: Date.now() / 1000, ...what }));

function ahead(video) {
  for (let i = 0; i < video.buffered.length; i++) {
    if (video.currentTime >= video.buffered.start(i) - 0.1 && video.currentTime <= video.buffered.end(i)) {
      return video.buffered.end(i) - video.currentTime;
    }
  }
  return 0;
}

// Each returns a function that says the level that is downloaded now: lines and bit/s.
const players = {
  "dash.js"(video, job) {
    const player = dashjs.MediaPlayer().create();
    player.updateSettings({ debug: { logLevel: 0 }, streaming: { buffer: {
      bufferTimeDefault: job.buffer_s, bufferTimeAtTopQuality: job.buffer_s, bufferTimeAtTopQualityLongForm: job.buffer_s } } });
    player.initialize(video, job.manifest, true);
    return () => {
      const level = player.getCurrentRepresentationForType("video");
      return level ? [level.height, level.bandwidth] : [0, 0];
    };
  },
  "hls.js"(video, job) {
    const player = new Hls({ maxBufferLength: job.buffer_s, maxMaxBufferLength: job.buffer_s, enableWorker: false,
      ...(job.live ? { liveSyncDurationCount: 2 } : {}) });
    player.loadSource(job.manifest);
    player.attachMedia(video);
    player.on(Hls.Events.ERROR, (_, data) => say({ event: "error", what: data.details, fatal: data.fatal }));
    return () => {
      const level = player.levels[player.loadLevel];
      return level ? [level.height, level.bitrate] : [0, 0];
    };
  },
  shaka(video, job) {
    shaka.polyfill.installAll();
    const player = new shaka.Player();
    player.configure({ streaming: { bufferingGoal: job.buffer_s, rebufferingGoal: 2 } });
    player.addEventListener("error", (e) => say({ event: "error", what: String(e.detail && e.detail.code) }));
    player.attach(video).then(() => player.load(job.manifest)).catch((e) => say({ event: "error", what: String(e && e.code) }));
    return () => {
      const level = player.getVariantTracks().find((t) => t.active);
      return level ? [level.height, level.bandwidth] : [0, 0];
    };
  },
};

function watch(job) {
  performance.setResourceTimingBufferSize(20000);
  const origin = performance.timeOrigin / 1000;
  new PerformanceObserver((list) => {
    for (const e of list.getEntries()) {
      say({ event: "fetched", path: new URL(e.name).pathname, begin: origin + e.startTime / 1000, request: origin + e.requestStart / 1000,
        first: origin + e.responseStart / 1000, end: origin + e.responseEnd / 1000, octets: e.encodedBodySize, protocol: e.nextHopProtocol });
    }
  }).observe({ type: "resource", buffered: true });
  const video = document.createElement("video");
  video.muted = true;
  video.autoplay = true;
  video.width = 320;
  document.body.append(video);
  for (const name of ["loadedmetadata", "playing", "waiting", "pause", "play", "ended", "seeking", "seeked", "resize", "error"]) {
    video.addEventListener(name, () => say({ event: name, at: video.currentTime, height: video.videoHeight }));
  }
  video.requestVideoFrameCallback(() => say({ event: "first frame", at: video.currentTime, height: video.videoHeight }));
  say({ event: "load" });
  const level = players[job.player](video, job);
  let due = Date.now() + 250;
  setInterval(() => {
    const now = Date.now(), [height, bps] = level(), quality = video.getVideoPlaybackQuality();
    say({ at: video.currentTime, buffer_s: ahead(video), shown: video.videoHeight, level: height, level_bps: bps, ready: video.readyState,
      paused: video.paused, frames: quality.totalVideoFrames, dropped: quality.droppedVideoFrames, late_ms: Math.max(0, now - due) });
    due = now + 250;
  }, 250);
  window.video = video;
}
