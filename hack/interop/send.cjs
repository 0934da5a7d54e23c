// Sends every sample in both modes by the JavaScript SDK. Usage: send.cjs SAMPLES URL OUTPUT
// Writes one JSON object a line: id, mode, and the body as it was sent (base64).

const fs = require("node:fs");
const { CloudEvent, HTTP } = require("cloudevents");

async function main([samples, url, output]) {
  const sent = fs.createWriteStream(output);
  let count = 0;
  for (const hook of JSON.parse(fs.readFileSync(samples, "utf8"))) {
    for (const payload of hook.examples) {
      for (const mode of ["binary", "structured"]) {
        count += 1;
        const event = new CloudEvent({
          id: `javascript-${count}`,
          source: `https://github.com/${payload.repository?.full_name ?? "octokit"}`,
          type: `com.github.${hook.name}`,
          datacontenttype: "application/json",
          subject: `number ${count}`,
          data: payload,
        });
        const { headers, body } = HTTP[mode](event);
        const answer = await fetch(url, { method: "POST", headers, body });
        const text = await answer.text();
        if (answer.status !== 202) throw new Error(`${event.id}: ${answer.status} ${text}`);
        const line = { id: event.id, mode, subject: event.subject, sequence: JSON.parse(text).sequence };
        sent.write(JSON.stringify({ ...line, body: Buffer.from(body).toString("base64") }) + "\n");
      }
    }
  }
  await new Promise((done) => sent.end(done));
  console.log(`javascript: ${count} events accepted`);
}

main(process.argv.slice(2)).catch((error) => {
  console.error(error.message);
  process.exit(1);
});
