// Told by a page of the lab after its load: the browser's own times of it, and of each object.
"use strict";

// Returns the times of the page that is open, in seconds since the epoch, and its objects so far.
function timed() {
  const origin = performance.timeOrigin / 1000;
  const page = performance.getEntriesByType("navigation")[0];
  const at = (ms) => (ms ? origin + ms / 1000 : null);
  const objects = performance.getEntriesByType("resource").map((e) => ({
    path: new URL(e.name).pathname + new URL(e.name).search, host: new URL(e.name).hostname, begin: at(e.startTime), request: at(e.requestStart),
    first: at(e.responseStart), end: at(e.responseEnd), octets: e.encodedBodySize, protocol: e.nextHopProtocol }));
  return { begin: origin, request: at(page.requestStart), first: at(page.responseStart), dom: at(page.domContentLoadedEventEnd),
    load: at(page.loadEventStart), octets: page.encodedBodySize, protocol: page.nextHopProtocol, objects };
}
