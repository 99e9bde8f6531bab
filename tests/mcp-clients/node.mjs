// A client out of the TypeScript SDK: a call a line on standard input, its result a line on standard output.
// Arguments: `http URL TOKEN` or `stdio COMMAND...`.
import { createInterface } from "node:readline";
import { Client } from "@modelcontextprotocol/sdk/client/index.js";
import { StdioClientTransport } from "@modelcontextprotocol/sdk/client/stdio.js";
import { StreamableHTTPClientTransport } from "@modelcontextprotocol/sdk/client/streamableHttp.js";

const [kind, ...rest] = process.argv.slice(2);
const transport =
  kind === "http"
    ? new StreamableHTTPClientTransport(new URL(rest[0]), {
        requestInit: { headers: { Authorization: `Bearer ${rest[1]}` } },
      })
    : new StdioClientTransport({ command: rest[0], args: rest.slice(1) });
const client = new Client({ name: "lbm-test", version: "1" });
await client.connect(transport);
const { tools } = await client.listTools();
const said = (value) => process.stdout.write(`${JSON.stringify(value)}\n`);
said({ protocol: transport.protocolVersion ?? null, tools: tools.map((tool) => tool.name) });
for await (const line of createInterface({ input: process.stdin })) {
  const call = JSON.parse(line);
  said(await client.callTool({ name: call.tool, arguments: call.arguments }));
}
await client.close();
