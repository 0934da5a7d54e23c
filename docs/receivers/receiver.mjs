// A receiver for Posthorn: Node.js 18 or newer, its own modules only.
import { createHmac, timingSafeEqual } from "node:crypto";
import { closeSync, existsSync, fsyncSync, ftruncateSync, openSync, readFileSync, writeSync } from "node:fs";
import { createServer } from "node:http";

const KEYS = process.env.WEBHOOK_SECRETS.split(/\s+/).map((key) => Buffer.from(key.replace(/^whsec_/, ""), "base64"));
const JOURNAL = process.env.JOURNAL ?? "receiver.jsonl";
const LARGEST = 16 * 1024 * 1024;

class Refused extends Error {} // this event will never be taken

// What was taken, one event a line: the work and the highest sequence are stored by one write. A database does the same by one transaction.
const highest = new Map();
const journal = openSync(JOURNAL, existsSync(JOURNAL) ? "r+" : "w+");
let end = 0;
for (const line of readFileSync(journal, "utf8").split("\n").slice(0, -1)) { // what follows the last line break was cut off
  const { lane, event } = JSON.parse(line);
  highest.set(lane, event.sequence);
  end += Buffer.byteLength(line) + 1;
}

// Whether one of the signatures was made with one of our keys, in the last five minutes.
function isSigned(headers, body) {
  const { "webhook-id": id = "", "webhook-timestamp": timestamp = "", "webhook-signature": given = "" } = headers;
  if (!/^\d+$/.test(timestamp) || Math.abs(Date.now() / 1000 - Number(timestamp)) > 300) return false;
  const made = KEYS.map((key) => createHmac("sha256", key).update(`${id}.${timestamp}.`).update(body).digest());
  return given.split(" ").some((one) => {
    const tag = Buffer.from(one.startsWith("v1,") ? one.slice(3) : "", "base64");
    return made.some((ours) => ours.length === tag.length && timingSafeEqual(ours, tag));
  });
}

// The events of a request, each an object of its attributes and its data.
function events(headers, body) {
  const mediaType = (headers["content-type"] ?? "").split(";")[0].trim().toLowerCase();
  if (mediaType === "application/cloudevents-batch+json") return JSON.parse(body);
  if (mediaType === "application/cloudevents+json") return [JSON.parse(body)];
  const attributes = Object.entries(headers).filter(([name]) => name.startsWith("ce-"));
  const event = Object.fromEntries(attributes.map(([name, value]) => [name.slice(3), decodeURIComponent(value)]));
  return [{ ...event, ...(mediaType === "application/json" ? { data: JSON.parse(body) } : { data_base64: body.toString("base64") }) }];
}

// Takes what was not taken before, all of it or nothing. It never waits in between, so no other request comes between.
function accept(lane, given) {
  const taken = given.filter((event) => event.sequence > (highest.get(lane) ?? ""));
  const useless = taken.find((event) => !event.type.startsWith("com.example."));
  if (useless) throw new Refused(`no use for events of type ${useless.type}`);
  const lines = Buffer.from(taken.map((event) => JSON.stringify({ lane, event }) + "\n").join(""));
  ftruncateSync(journal, end); // removes what an earlier write left that did not end
  for (let written = 0; written < lines.length; ) written += writeSync(journal, lines, written, lines.length - written, end + written);
  fsyncSync(journal);
  end += lines.length;
  for (const event of given) {
    console.log(taken.includes(event) ? "accepted" : "repeat", lane, event.sequence, event.id);
    if (taken.includes(event)) highest.set(lane, event.sequence);
  }
}

function answer(request, body) {
  if (!isSigned(request.headers, body)) return [401]; // halts the destination; its backlog is kept
  try {
    accept(request.url, events(request.headers, body)); // each destination has a path of its own; with PerKey, add the key to the lane
    return [204]; // delivered: it is stored here
  } catch (error) {
    console.log(error instanceof Refused ? "refused" : "failed", request.url, String(error));
    return error instanceof Refused ? [422, { "posthorn-directive": "bury" }] : [500]; // given up at once; tried again
  }
}

const server = createServer((request, response) => {
  const parts = [];
  let size = 0;
  request.on("data", (part) => {
    size += part.length;
    if (size <= LARGEST) parts.push(part);
  });
  request.on("end", () => response.writeHead(...(size > LARGEST ? [413] : answer(request, Buffer.concat(parts)))).end());
});
server.keepAliveTimeout = 60_000; // longer than the pauses between events: fewer connections
server.listen(Number(process.env.PORT ?? 8000), "127.0.0.1", () => console.log(`listening on http://127.0.0.1:${server.address().port}`));
process.on("exit", () => closeSync(journal));
