// A live stream out of stored segments: the playlist of a moment holds those that had ended by then.
"use strict";

const WINDOW = 6; // segments in a playlist
const begun = new Map(); // folder of a stream -> time of its first playlist

// Returns the media playlist *text* of *file* as it is at *now* (seconds); a master playlist stays as it is.
function live(file, text, now) {
  if (text.includes("#EXT-X-STREAM-INF")) return text;
  const folder = file.slice(0, file.lastIndexOf("/"));
  const lines = text.split("\n");
  const target = Number((/#EXT-X-TARGETDURATION:(\d+)/.exec(text) || [0, 4])[1]);
  if (!begun.has(folder)) begun.set(folder, now - 4 * target);
  const segments = [];
  lines.forEach((line, i) => { if (line.startsWith("#EXTINF")) segments.push([line, lines.slice(i).find((l) => l && !l.startsWith("#"))]); });
  const last = Math.min(segments.length, Math.floor((now - begun.get(folder)) / target));
  const first = Math.max(0, last - WINDOW);
  const head = lines.filter((line) => line.startsWith("#EXT") && !/^#EXT(INF|-X-ENDLIST|-X-PROGRAM-DATE-TIME|-X-PLAYLIST-TYPE|-X-MEDIA-SEQUENCE)/.test(line));
  return [...head, `#EXT-X-MEDIA-SEQUENCE:${first + 1}`, ...segments.slice(first, last).flat(), ""].join("\n");
}

module.exports = { live };
