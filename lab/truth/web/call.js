// One end of a WebRTC call: a fake camera, a peer connection, and its account each second and each picture shown.
// `tell` is a binding of the lab, which also carries offer and answer: no signalling is on the network.
"use strict";

const tellAt = (what) => tell(JSON.stringify({ t: Date.now() / 1000, ...what }));
const INBOUND = ["framesReceived", "framesDecoded", "framesDropped", "keyFramesDecoded", "freezeCount", "totalFreezesDuration",
  "pauseCount", "bytesReceived", "headerBytesReceived", "packetsReceived", "packetsLost", "packetsDiscarded", "jitter", "nackCount",
  "pliCount", "firCount", "frameWidth", "frameHeight", "totalInterFrameDelay", "totalSquaredInterFrameDelay", "jitterBufferDelay",
  "jitterBufferEmittedCount", "concealedSamples", "totalSamplesReceived", "framesAssembledFromMultiplePackets", "retransmittedPacketsReceived"];
const OUTBOUND = ["framesSent", "framesEncoded", "keyFramesEncoded", "bytesSent", "packetsSent", "retransmittedPacketsSent",
  "retransmittedBytesSent", "frameWidth", "frameHeight", "targetBitrate", "qualityLimitationReason", "nackCount", "pliCount", "hugeFramesSent"];
const PAIR = ["currentRoundTripTime", "availableOutgoingBitrate", "bytesReceived", "bytesSent"];
const REMOTE = ["fractionLost", "packetsLost", "jitter", "roundTripTime"];

const some = (report, names) => Object.fromEntries(names.filter((n) => report[n] !== undefined).map((n) => [n, report[n]]));

let peer = null;

// Prepares this end; `job` has width, height, fps and codec ("" leaves the choice to Chromium).
async function prepare(job) {
  peer = new RTCPeerConnection({ iceServers: [] });
  const media = await navigator.mediaDevices.getUserMedia({ audio: true, video: { width: job.width, height: job.height, frameRate: job.fps } });
  for (const track of media.getTracks()) peer.addTrack(track, media);
  if (job.codec) {
    const codecs = RTCRtpReceiver.getCapabilities("video").codecs;
    const first = codecs.filter((c) => c.mimeType.toLowerCase() === `video/${job.codec.toLowerCase()}`);
    const rest = codecs.filter((c) => /rtx|red|ulpfec/i.test(c.mimeType));
    for (const t of peer.getTransceivers()) if (t.sender.track.kind === "video") t.setCodecPreferences([...first, ...rest]);
  }
  peer.ontrack = (event) => { if (event.track.kind === "video") show(event.streams[0]); };
  peer.onconnectionstatechange = () => tellAt({ event: peer.connectionState });
}

function show(stream) {
  const video = document.createElement("video");
  video.muted = true;
  video.autoplay = true;
  video.width = 320;
  video.srcObject = stream;
  document.body.append(video);
  const origin = performance.timeOrigin / 1000;
  const shown = (now, about) => {
    pictures.push([origin + about.presentationTime / 1000, about.rtpTimestamp || 0, about.presentedFrames]);
    video.requestVideoFrameCallback(shown);
  };
  video.requestVideoFrameCallback(shown);
}

let pictures = []; // shown since the last account: time, RTP time stamp, number

async function account() {
  const said = { pictures };
  pictures = [];
  for (const report of (await peer.getStats()).values()) {
    const kind = report.kind || "";
    if (report.type === "inbound-rtp") said[`in_${kind}`] = { at: report.timestamp / 1000, ssrc: report.ssrc, ...some(report, INBOUND) };
    if (report.type === "outbound-rtp") said[`out_${kind}`] = { at: report.timestamp / 1000, ssrc: report.ssrc, ...some(report, OUTBOUND) };
    if (report.type === "remote-inbound-rtp") said[`remote_${kind}`] = some(report, REMOTE);
    if (report.type === "candidate-pair" && report.nominated) said.pair = some(report, PAIR);
    if (report.type === "codec") (said.codecs = said.codecs || []).push([report.mimeType, report.payloadType]);
  }
  tellAt(said);
}

async function described() {
  if (peer.iceGatheringState !== "complete") {
    await new Promise((done) => peer.addEventListener("icegatheringstatechange", () => { if (peer.iceGatheringState === "complete") done(); }));
  }
  setInterval(account, 1000);
  return peer.localDescription.toJSON();
}

async function offer(job) {
  await prepare(job);
  await peer.setLocalDescription(await peer.createOffer());
  return described();
}

async function answer(job, offered) {
  await prepare(job);
  await peer.setRemoteDescription(offered);
  await peer.setLocalDescription(await peer.createAnswer());
  return described();
}

async function joined(answered) {
  await peer.setRemoteDescription(answered);
  return true;
}
