// Receives events, verifies signatures and decodes, by the JavaScript libraries. Usage: receive.cjs KEYFILE OUTPUT
// Prints its port. Writes one JSON object a line: path, id and subject as decoded, sequence, whether the signature verified, body (base64).

const fs = require("node:fs");
const http = require("node:http");
const { HTTP } = require("cloudevents");
const { Webhook } = require("standardwebhooks");

const [keyFile, output] = process.argv.slice(2);
const webhook = new Webhook(fs.readFileSync(keyFile, "utf8").trim());
const received = fs.openSync(output, "w");

const server = http.createServer(async (request, response) => {
  const chunks = [];
  for await (const chunk of request) chunks.push(chunk);
  const body = Buffer.concat(chunks);
  const line = { path: request.url, error: null, body: body.toString("base64") };
  try {
    webhook.verify(body, request.headers);
    const { id, subject, sequence } = HTTP.toEvent({ headers: request.headers, body: body.toString() });
    Object.assign(line, { id, subject, sequence });
  } catch (error) {
    line.error = String(error);
  }
  fs.writeSync(received, JSON.stringify(line) + "\n");
  response.writeHead(line.error ? 400 : 204).end();
});
server.listen(0, "127.0.0.1", () => console.log(server.address().port));
