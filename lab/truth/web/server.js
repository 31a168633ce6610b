// The web server of the lab of truth, HTTP/1.1 or HTTP/2 over TLS on port 443.
//
//   node server.js --root DIR --certificate PEM --key PEM --http 1|2 --wait FILE --ready FILE
//
// Files of the root; /bytes/N is N octets; /live/... is a playlist that grows (see live()). A request may carry ?wait=MS.
// FILE of --wait holds the milliseconds that the server thinks before each answer: the lab's impairment of a server.
"use strict";
const fs = require("fs");
const http2 = require("http2");
const https = require("https");
const path = require("path");
const { live } = require("./live.js");

const options = {};
for (let i = 2; i < process.argv.length; i += 2) options[process.argv[i].slice(2)] = process.argv[i + 1];

const TYPES = { ".html": "text/html", ".js": "text/javascript", ".css": "text/css", ".mpd": "application/dash+xml",
  ".m3u8": "application/vnd.apple.mpegurl", ".m4s": "video/iso.segment" };

function thinks() {
  try { return Number(fs.readFileSync(options.wait, "ascii")) || 0; } catch { return 0; }
}

function send(response, status, type, body) {
  response.writeHead(status, { "content-type": type, "content-length": body.length, "cache-control": "no-store",
    "timing-allow-origin": "*", "access-control-allow-origin": "*" }); // a page sees sizes and times of all its objects
  response.end(body);
}

function answer(url, response) {
  const name = decodeURIComponent(url.pathname);
  if (name === "/" || name === "/blank") return send(response, 200, "text/html", Buffer.from("<!doctype html><body></body>"));
  if (name.startsWith("/bytes/")) return send(response, 200, "image/png", Buffer.alloc(Math.min(Number(name.slice(7)) || 0, 1 << 28), 7));
  const file = path.join(options.root, path.normalize(name.replace(/^\/live\//, "/")));
  const body = fs.existsSync(file) ? fs.readFileSync(file) : null;
  if (body === null) return send(response, 404, "text/plain", Buffer.from("no such file"));
  const type = TYPES[path.extname(file)] || "application/octet-stream";
  if (name.startsWith("/live/") && name.endsWith(".m3u8")) return send(response, 200, type, Buffer.from(live(file, body.toString(), Date.now() / 1000)));
  return send(response, 200, type, body);
}

function handle(request, response) {
  const url = new URL(request.url, "https://lab");
  const wait = thinks() + (Number(url.searchParams.get("wait")) || 0);
  request.resume();
  request.on("error", () => {});
  response.on("error", () => {});
  if (wait) setTimeout(answer, wait, url, response);
  else answer(url, response);
}

const tls = { cert: fs.readFileSync(options.certificate), key: fs.readFileSync(options.key) };
const server = options.http === "2"
  ? http2.createSecureServer({ ...tls, allowHTTP1: true }, handle)
  : https.createServer({ ...tls, ALPNProtocols: ["http/1.1"], keepAliveTimeout: 120000 }, handle);
server.on("error", (error) => { console.error(error.message); process.exit(1); });
server.on("sessionError", () => {});
server.listen(443, "0.0.0.0", () => fs.writeFileSync(options.ready, ""));
process.on("SIGTERM", () => process.exit(0));
