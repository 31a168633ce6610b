// Parse each of the documents that are named, and print what the parser says of them, as a list of JSON.
import { readFileSync } from "node:fs";
import { createRequire } from "node:module";

const { Parser } = createRequire(`${process.cwd()}/`)("@asyncapi/parser");
const parser = new Parser();
const said = [];
for (const path of process.argv.slice(2)) {
  const { document, diagnostics } = await parser.parse(readFileSync(path, "utf8"));
  said.push({
    channels: document ? document.channels().all().map((channel) => channel.address()) : null,
    operations: document ? document.operations().all().map((operation) => operation.action()) : null,
    errors: diagnostics.filter((d) => d.severity === 0).map((d) => `${d.path.join(".")}: ${d.message}`),
  });
}
console.log(JSON.stringify(said));
