// Asks for each case, then for what follows it, and prints both outcomes as `tests/compat/src/bin/hostile.rs` does.
//
//   node ask.mjs http|fetch ORIGIN   (cases on the standard input)
import http from "node:http";
import readline from "node:readline";

const [kind, origin] = process.argv.slice(2);
const WAIT = 1500;
const PATIENCE = 15000;

function ask(agent, method, url) {
  return new Promise((resolve) => {
    const request = http.request(url, { method, agent, timeout: WAIT }, (response) => {
      const chunks = [];
      response.on("data", (chunk) => chunks.push(chunk));
      response.on("aborted", () => resolve("error aborted"));
      response.on("error", (error) => resolve(`error ${error.code}`));
      response.on("end", () => {
        if (!response.complete) return resolve("error incomplete");
        resolve(`ok ${response.statusCode} ${Buffer.concat(chunks).toString("hex")}`);
      });
    });
    request.on("timeout", () => request.destroy(new Error("timeout")));
    request.on("error", (error) => resolve(`error ${error.code ?? error.message}`));
    request.on("upgrade", (response, socket) => {
      socket.destroy();
      resolve(`ok ${response.statusCode} `);
    });
    request.end();
  });
}

async function fetched(method, url) {
  try {
    const response = await fetch(url, { method, signal: AbortSignal.timeout(WAIT + 500) });
    const body = Buffer.from(await response.arrayBuffer());
    return `ok ${response.status} ${body.toString("hex")}`;
  } catch (error) {
    return `error ${error.cause?.code ?? error.name}`;
  }
}

function bounded(outcome) {
  const late = new Promise((resolve) => setTimeout(resolve, PATIENCE, "hang").unref());
  return Promise.race([outcome, late]);
}

async function run(number, method) {
  const agent = new http.Agent({ keepAlive: true, maxSockets: 1 });
  const one = (method, url) => (kind === "http" ? ask(agent, method, url) : fetched(method, url));
  const first = await bounded(one(method, `${origin}/c/${number}`));
  const next = await bounded(one("GET", `${origin}/next/${number}`));
  agent.destroy();
  console.log(`${number}\t${String(first).replaceAll("\t", " ")}\t${next}`);
}

process.on("uncaughtException", () => {});
const lines = [];
for await (const line of readline.createInterface({ input: process.stdin })) lines.push(line);
// fetch has one pool for all, so that its cases go one after the other.
await Promise.all(
  Array.from({ length: kind === "http" ? 16 : 1 }, async () => {
    for (let line; (line = lines.shift()); ) {
      const [number, method] = line.split(" ");
      await run(number, method);
    }
  }),
);
process.exit(0);
